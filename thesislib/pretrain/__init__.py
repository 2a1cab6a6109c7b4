"""Self-supervised and other pre-training: normal images in, an encoder out."""
