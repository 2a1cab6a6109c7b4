"""Experiments: rows of the thesis's tables as pre-training plus detector."""
