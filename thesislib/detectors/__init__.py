"""Anomaly detectors: fitted on normal images, they map images to scores."""
