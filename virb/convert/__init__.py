"""Published checkpoints: what they hold, and how it becomes an encoder."""
