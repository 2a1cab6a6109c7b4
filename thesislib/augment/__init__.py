"""Augmentations of thesis Section 5.4.2, batched, with parameters per sample.

`weak` holds the SimCLR family, `medmix` the pasted lesions of Section 5.3.2, `strong`
the augmentations that Figure 5.7 compares, `position` the patch pairs of Eq. (5.9).
All take float32 images in [0, 1] of shape (B, 3, H, W) and an explicit generator on
the device of the images, and loop over no image.
"""
