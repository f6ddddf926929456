"""Named sets of images to pretrain on, one file each."""
