"""The feature cache: every (encoder, image set, layer) is computed once."""
