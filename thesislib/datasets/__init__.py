"""Images of the thesis's datasets, real or phantom, in one shape.

`registry.find` locates, lists and hashes; `registry.load` decodes. One adapter a
file reads one official folder layout; `bank` holds the decoded images.
"""
