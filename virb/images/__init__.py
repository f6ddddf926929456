"""Image sets: where images lie, how they are decoded, cropped and checked."""
