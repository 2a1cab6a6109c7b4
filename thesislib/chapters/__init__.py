"""One folder a chapter: what is that chapter's own, nothing else."""
