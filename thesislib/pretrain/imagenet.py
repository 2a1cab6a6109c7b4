"""ImageNet weights as starting point or as baseline (Tables 5.1 to 5.9)."""

from pathlib import Path

from thesislib.errors import InputError
from thesislib.nn.resnet import ResNet18, load_weights

URL_NAME = "resnet18-f37072fd.pth"  # torchvision's ResNet18_Weights.IMAGENET1K_V1


def find_weights(given: str = "") -> Path | None:
    """Where torchvision's ImageNet weights lie on this machine.

    Args:
        given: Path of a file, relative to the companion's folder; "" looks in
            torchvision's own cache. Nothing is downloaded.

    Returns:
        The file, or None if none was given and the cache has none.

    Raises:
        InputError: If a file was given and does not exist.
    """
    if given:
        from thesislib.paths import resolve

        path = resolve(given)
        if not path.is_file():
            raise InputError(
                f"weights: no file {given}; give torchvision's {URL_NAME} or leave "
                "it empty to look in torchvision's cache."
            )
        return path
    from torch.hub import get_dir

    path = Path(get_dir()) / "checkpoints" / URL_NAME
    return path if path.is_file() else None


def require_weights(given: str = "") -> Path:
    """The file of `find_weights`, which has to exist.

    Raises:
        InputError: If the weights are absent; an encoder is never left with random
            weights in silence.
    """
    path = find_weights(given)
    if path is None:
        raise InputError(
            "start is imagenet and the weights are absent: put torchvision's "
            f"{URL_NAME} into its cache (python -c 'import torchvision as t; "
            't.models.resnet18(weights="IMAGENET1K_V1")\' where a network exists), '
            "give their path as weights, or use start scratch."
        )
    return path


def start_from_imagenet(encoder: ResNet18, given: str = "") -> ResNet18:
    """Load ImageNet weights into an encoder of full width.

    Raises:
        InputError: If the weights are absent or do not fit.
    """
    load_weights(encoder, require_weights(given))
    return encoder
