"""Figures of the book: arrays in, an `ax` or a Figure out.

`style` palette and marks · `display` figure to HTML · `curves` losses, ROC, scores ·
`panels` images and heatmaps · `embedding` t-SNE · `comparisons` ours beside
published · `explorer` images, heatmaps and threshold without a kernel · `live` the
threshold with one. Import the modules; nothing is loaded here.
"""
