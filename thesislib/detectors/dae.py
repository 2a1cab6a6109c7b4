"""The deterministic auto-encoder (DAE), as settings of IGD; rows of Table 6.5.

Encoder and decoder that minimise the mean squared error, which is the score too
(Tables 6.1 to 6.4). `igd` computes just this when its loss has the reconstruction
alone, by MSE; its critic is then idle, and its Gaussian measured but not used.
The thesis cites Hadsell et al. 2006 and Masci et al. 2011 for it and gives no network:
here it is IGD's, so that the first row of the ablation and the DAE are the same.
"""

from dataclasses import replace

from thesislib.detectors.igd import IGDConfig

# Rows of thesis Table 6.5 in its order: name -> what changes in `IGDConfig`. Rows
# without the Gaussian classifier are scored by the reconstruction alone: Eq. (6.22)
# would add a term that they have not trained.
ABLATION: dict[str, dict[str, object]] = {
    "mse": {
        "terms": ("rec",),
        "reconstruction": "mse",
        "pixels": "mean",
        "share_gac": 0.0,
    },
    "rec": {"terms": ("rec",), "reconstruction": "ms-ssim", "share_gac": 0.0},
    "rec-gac": {"terms": ("rec", "gac"), "reconstruction": "ms-ssim"},
    "rec-gac-inter": {"terms": ("rec", "gac", "inter"), "reconstruction": "ms-ssim"},
}
LABELS = {
    "mse": "MSE",
    "rec": "REC",
    "rec-gac": "REC + GAC",
    "rec-gac-inter": "REC + GAC + INTER",
}


def dae_config(config: IGDConfig) -> IGDConfig:
    """Settings under which `igd.fit` and `igd_scores.score` are the DAE's.

    `Scores.score` is then the mean squared error of an image over C, H and W, at least
    0, in squared pixel values; of the local model (`patch_size`) the largest among
    patches.
    """
    return replace(config, **ABLATION["mse"])
