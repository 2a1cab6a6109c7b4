r"""The MS-SSIM auto-encoder of thesis chapters 4, 5 and 7, as settings of IGD.

Chapter 4 calls it "a baseline method": encoder and decoder, trained to reconstruct
normal images by MS-SSIM and scored by it. `igd` computes just this when its loss has
the reconstruction alone; its critic is then idle, and its Gaussian measured but not
used. A model is an `IGD`, global or local, from scratch or with a pre-trained encoder;
`igd.fit` trains it, `igd_scores.score` gives scores and maps, and `combine` mixes both
scales as Eq. (4.6) does.
"""

from dataclasses import replace

from thesislib.detectors.dae import ABLATION
from thesislib.detectors.igd import IGDConfig
from thesislib.detectors.igd_scores import Scores
from thesislib.errors import InputError


def ms_ssim_ae_config(config: IGDConfig) -> IGDConfig:
    r"""Settings under which `igd.fit` and `igd_scores.score` are the auto-encoder's.

    Loss and score are $\ell_{rec}$ of Eq. (4.6), which is Eq. (6.12) of one scale:
    $\rho$ of the mean absolute error, the rest of the MS-SSIM, $\rho = .15$ as in
    chapter 6. The sentence below Eq. (4.7), whose $s_{MSI}$ is MS-SSIM alone, is
    `rho=0` in `config`. The mean over pixels is taken, whatever `config` has, since
    only then does $\nu$ weigh images against patches of another size.
    """
    return replace(config, **ABLATION["rec"], pixels="mean")


def combine(of_global: Scores, of_local: Scores, nu: float = 0.5) -> Scores:
    r"""Both scales together, thesis Eq. (4.6), scores and maps.

    $$\ell_{rec} = \rho \lVert x - \tilde{x} \rVert_1
      + (1 - \rho) (1 - (\nu m_G + (1 - \nu) m_L))$$

    Each scale has a reconstruction of its own, so that both terms are mixed by $\nu$:
    $\nu \ell_G + (1 - \nu) \ell_L$. Of the local model $\ell_L$ is the largest among
    patches, as in Eq. (6.23); chapter 4 does not say. Where it says that "the final map
    is obtained by summing the global and local maps", this is the weighted sum: at the
    default half of the plain one.

    Args:
        of_global: By the global model.
        of_local: By the local one.
        nu: $\nu$ in [0, 1], share of the global model. Not given; ours.

    Raises:
        InputError: If $\nu$ is outside its range.
    """
    if not 0 <= nu <= 1:
        raise InputError(f"nu is {nu}; it must lie in [0, 1].")
    pairs = zip(of_global[:3], of_local[:3], strict=True)
    sums = [nu * a + (1 - nu) * b for a, b in pairs]
    if of_global.maps is None or of_local.maps is None:
        return Scores(*sums, None)
    return Scores(*sums, nu * of_global.maps + (1 - nu) * of_local.maps)
