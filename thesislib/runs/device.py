"""The device a run computes on."""

import torch

from thesislib.errors import InputError


def resolve(name: str) -> torch.device:
    """The device for `name`: "auto" is CUDA if there is one, else the CPU.

    Raises:
        InputError: If a device is asked for that is not here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda":
        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= found:
            raise InputError(
                f"device is {name!r}, but torch finds {found or 'no'} CUDA device"
                f"{'s' * (found > 1)} here; choose auto or cpu."
            )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError(
            "device is 'mps', but torch finds no Apple GPU here; choose auto or cpu."
        )
    return device


def describe(device: torch.device) -> dict[str, str]:
    """The GPU's name for a record; empty on the CPU."""
    if device.type != "cuda":
        return {}
    return {"gpu": torch.cuda.get_device_name(device)}
