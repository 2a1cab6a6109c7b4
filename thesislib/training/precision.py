"""Number formats of a training step."""

from contextlib import AbstractContextManager, nullcontext

import torch

from thesislib.errors import InputError

CHOICES = ("auto", "float32", "bfloat16")


def resolve(choice: str, device: torch.device | str) -> str:
    """`"float32"` or `"bfloat16"`.

    `"auto"` is bfloat16 autocast on a CUDA device that has it and float32 elsewhere.
    bfloat16 has the exponent of float32, so losses need no scaling.
    """
    if choice not in CHOICES:
        raise InputError(
            f"precision is {choice!r}; choose one of {', '.join(CHOICES)}."
        )
    if choice != "auto":
        return choice
    on_cuda = torch.device(device).type == "cuda"
    return "bfloat16" if on_cuda and torch.cuda.is_bf16_supported() else "float32"


def autocast(precision: str, device: torch.device | str) -> AbstractContextManager:
    """Context for the forward pass; does nothing in float32."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16)
