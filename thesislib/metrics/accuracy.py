r"""Accuracy at a threshold fixed beforehand, thesis Section 6.4.2.

"When computing the accuracy of anomaly detection in MVTec AD, the threshold of the
anomaly detection score $s(\mathbf{x})$ in (6.21) [...] is set to 0.5." Nothing is
fitted, so all test images count. The accuracy of `image.evaluate` is another one: its
threshold is chosen on images drawn from the test set (Section 5.4.3).
"""

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from thesislib.metrics.image import Estimate, confusion

SCORE_THRESHOLD = 0.5  # of s(x) in Eq. (6.21)


def at_threshold(
    labels: ArrayLike,
    scores: ArrayLike,
    threshold: float = SCORE_THRESHOLD,
    level: float = 0.95,
) -> Estimate:
    r"""Share of images on their own side of the threshold, with Wilson's interval.

    With the share $\hat p$ of N images (Wilson 1927),

    $$\frac{1}{1 + z^2 / N} \left( \hat p + \frac{z^2}{2N} \pm
      z \sqrt{\frac{\hat p (1 - \hat p)}{N} + \frac{z^2}{4 N^2}} \right) .$$

    It takes the number of right calls for binomial. The test set's mix of normal and
    abnormal images is fixed, which makes that number vary less, the more sensitivity
    and specificity differ: if anything, the interval is too wide.

    Args:
        labels: 0 normal, 1 abnormal, (N,).
        scores: (N,); an image is called abnormal when its score is at least the
            threshold.
        threshold: In units of the score.
        level: Coverage of the interval.

    Raises:
        InputError: Only one class is present, or a score is not finite.
    """
    value = confusion(labels, scores, threshold)["accuracy"]
    number = len(np.asarray(labels))
    z = NormalDist().inv_cdf(0.5 + level / 2)
    shrink = 1 + z**2 / number
    centre = (value + z**2 / (2 * number)) / shrink
    spread = value * (1 - value) / number + z**2 / (4 * number**2)
    half = z * spread**0.5 / shrink
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return Estimate(value, low, high, number)


def over_classes(
    labels: Sequence[ArrayLike],
    scores: Sequence[ArrayLike],
    threshold: float = SCORE_THRESHOLD,
    level: float = 0.95,
) -> tuple[list[Estimate], Estimate]:
    r"""Accuracy of every class, and their mean, Tables A.1 and 6.2.

    Each class has test images of its own, so the K accuracies are independent. With
    Wilson's limits $l_k$ and $u_k$ of each, the mean lies between

    $$\bar p - \frac{1}{K} \sqrt{\textstyle\sum_k (\hat p_k - l_k)^2}
      \quad \text{and} \quad
      \bar p + \frac{1}{K} \sqrt{\textstyle\sum_k (u_k - \hat p_k)^2}$$

    (Zou, Huang and Zhang 2009). Unlike one from $\hat p_k (1 - \hat p_k)$, this
    interval does not vanish where a class has no error, and it stays in [0, 1].

    Args:
        labels: K times (N_k,).
        scores: As `labels`.
        threshold: One for all classes.
        level: Coverage of the intervals.

    Returns:
        Estimates of the K classes and of the mean, whose n is all images.
    """
    pairs = zip(labels, scores, strict=True)
    found = [at_threshold(*pair, threshold, level) for pair in pairs]
    value = float(np.mean([one.value for one in found]))
    below = np.linalg.norm([one.value - one.ci_low for one in found]) / len(found)
    above = np.linalg.norm([one.ci_high - one.value for one in found]) / len(found)
    low, high = max(0.0, float(value - below)), min(1.0, float(value + above))
    return found, Estimate(value, low, high, sum(one.n for one in found))
