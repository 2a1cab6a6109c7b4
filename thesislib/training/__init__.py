"""The step iterator, its checkpoints, its progress line and its randomness."""
