"""Videos as snippets of features with one label a video, chapters 8 and 9.

`base` says what a video is before it is read, `find` lists and hashes, `load` reads
into one memory-mapped array, `dataset.VideoDataset` is what comes of it and `bags` is
what training draws from. One adapter a file reads one official layout.
"""
