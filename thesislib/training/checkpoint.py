"""Checkpoints that are whole or not there, and weights from files.

A checkpoint is a folder: `weights-<step>.safetensors` (modules and tensors),
`state-<step>.pt` (optimisers, schedulers) and `checkpoint.json`, which names both
with their SHA-256 and says what made them. The JSON file is replaced last and in
one move, so a kill at any moment leaves the earlier checkpoint in force.

Nothing here runs code from a file: weights are safetensors, everything else is
read with `torch.load(weights_only=True)`.
"""

import hashlib
import io
import json
import pickle
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from thesislib import atomic, sources
from thesislib.errors import InputError

SCHEMA = 1
ANEW = "set THESIS_OVERWRITE=1 or delete the run's folder to start anew"


class CheckpointError(InputError):
    """A checkpoint or a file of weights is not what is wanted; the user decides."""


def save(
    folder: Path,
    step: int,
    saving: Mapping[str, object],
    identity: Mapping[str, object],
    *,
    device: str,
    finished: bool,
    num_losses: int = 0,
) -> None:
    """Put a checkpoint after `step` steps into force; remove the one before.

    Args:
        folder: Folder of this stage's checkpoints.
        step: Number of steps done.
        saving: Name -> module, tensor, or anything with `state_dict`.
        identity: What the checkpoint belongs to, JSON-able; `load` compares it.
        device: Type of the device that trained, "cpu" or "cuda".
        finished: Whether the stage is complete.
        num_losses: Rows of the loss file that belong to this checkpoint.

    Raises:
        InputError: If a file cannot be written or a state cannot be read back.
    """
    contents = {
        f"weights-{step:07d}.safetensors": _pack_tensors(saving),
        f"state-{step:07d}.pt": _pack_states(saving),
    }
    files = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    try:
        for name, data in contents.items():
            atomic.write_bytes(folder / name, data)
        atomic.write_json(
            folder / "checkpoint.json",
            {
                "schema": SCHEMA,
                "step": step,
                "finished": finished,
                "device": device,
                "num_losses": num_losses,
                "identity": dict(identity),
                "sources": sources.without(sources.BESIDE_WEIGHTS),
                "files": files,
            },
        )
    except InputError:  # a full disk: leave it the room it had
        for name in files:
            (folder / name).unlink(missing_ok=True)
        raise
    for path in (*folder.glob("weights-*"), *folder.glob("state-*")):
        if path.name not in files:
            path.unlink(missing_ok=True)


def check(saving: Mapping[str, object]) -> None:
    """Refuse before the first step what could not be read back after the last.

    Raises:
        InputError: If an object of `saving` has no state, or one with code in it.
    """
    _pack_tensors(saving)
    _unpack_states(_pack_states(saving), f"The state of {', '.join(saving)}")


def load(
    folder: Path,
    saving: Mapping[str, object],
    identity: Mapping[str, object],
    *,
    device: str,
) -> dict | None:
    """Restore the objects in `saving`; return the checkpoint's JSON, None if absent.

    Raises:
        InputError: If the checkpoint is damaged, or was made by other settings,
            other sources, or (unless finished) on another kind of device.
    """
    path = folder / "checkpoint.json"
    if not path.is_file():
        return None
    where = atomic.shown(folder)
    head = _read_head(path, where)
    _check_origin(head, where, identity, device)
    data = {name: _read_file(folder / name, sha) for name, sha in head["files"].items()}
    tensors, states = {}, {}
    for name, content in data.items():
        if name.endswith(".safetensors"):
            tensors = _unpack_tensors(content, f"{where}/{name}")
        else:
            states = _unpack_states(content, f"{where}/{name}")
    _restore(saving, tensors, states, where)
    return head


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a `.safetensors` or torch weights file, on the CPU.

    A file with more than tensors is searched for one dictionary of them under
    `state_dict` or `model`.

    Raises:
        InputError: If the file is absent, damaged, holds no tensors, or is a pickle
            with code in it.
    """
    where = atomic.shown(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"The weights {where} could not be read ({error.strerror})."
        ) from error
    if path.suffix == ".safetensors":
        return _unpack_tensors(content, where)
    loaded = _unpack_states(content, where)
    for key in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not loaded:
        raise CheckpointError(f"{where} holds no dictionary of tensors.")
    if wrong := [key for key, item in loaded.items() if not isinstance(item, Tensor)]:
        raise CheckpointError(f"{where} holds more than tensors: {wrong[0]!r} is none.")
    return loaded


def load_into(module: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copy `tensors` into `module`; every name and shape must agree.

    Args:
        module: Receives the weights.
        tensors: Name -> tensor, as `module.state_dict()`.
        source: What the weights are called in messages.

    Raises:
        InputError: If they are weights of another architecture.
    """
    own = module.state_dict()
    missing = sorted(own.keys() - tensors.keys())
    extra = sorted(tensors.keys() - own.keys())
    shapes = [
        f"{name} is {tuple(tensors[name].shape)}, needed {tuple(own[name].shape)}"
        for name in own.keys() & tensors.keys()
        if own[name].shape != tensors[name].shape
    ]
    problems = [
        f"{len(names)} {what} such as {names[0]}"
        for what, names in (("missing", missing), ("unknown", extra))
        if names
    ]
    problems += sorted(shapes)[:1]
    if problems:
        raise CheckpointError(
            f"{source} does not fit {type(module).__name__}: it was made for another "
            f"architecture ({'; '.join(problems)})."
        )
    module.load_state_dict(dict(tensors))


def _pack_tensors(saving: Mapping[str, object]) -> bytes:
    """Modules and tensors of `saving` as one safetensors file, `name/key`."""
    tensors = {}
    for name, item in saving.items():
        if isinstance(item, nn.Module):
            for key, value in item.state_dict().items():
                if not isinstance(value, Tensor):
                    raise CheckpointError(f"{name} keeps {key}, which is not a tensor.")
                tensors[f"{name}/{key}"] = value
        elif isinstance(item, Tensor):
            tensors[f"{name}/"] = item
    copies = {  # clone: safetensors refuses tensors that share memory
        key: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, value in tensors.items()
    }
    return safetensors.torch.save(copies)


def _pack_states(saving: Mapping[str, object]) -> bytes:
    """Optimisers and schedulers of `saving` as one torch file."""
    states = {}
    for name, item in saving.items():
        if isinstance(item, nn.Module | Tensor):
            continue
        if not hasattr(item, "state_dict") or not hasattr(item, "load_state_dict"):
            raise CheckpointError(
                f"saving[{name!r}] is {type(item).__name__}; allowed are modules, "
                "tensors, optimisers and schedulers."
            )
        states[name] = item.state_dict()
    buffer = io.BytesIO()
    torch.save(states, buffer)
    return buffer.getvalue()


def _unpack_tensors(content: bytes, where: str) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{where} is not a whole safetensors file.") from error


def _unpack_states(content: bytes, where: str) -> dict:
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{where} is a pickle with code in it, which could do anything, or no "
            "torch file at all; it was not loaded."
        ) from error
    except (RuntimeError, EOFError, ValueError, OSError, KeyError) as error:
        raise CheckpointError(f"{where} is damaged or no torch file.") from error


def _read_head(path: Path, where: str) -> dict:
    try:
        head = json.loads(path.read_text(encoding="utf-8"))
        if head["schema"] != SCHEMA:
            raise CheckpointError(
                f"The checkpoint {where} has schema {head['schema']}, this version "
                f"reads {SCHEMA}; {ANEW}."
            )
        for key in ("step", "finished", "device", "num_losses", "sources"):
            head[key]
        names = [*head["identity"], *head["files"]]
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"The checkpoint {where}/checkpoint.json is damaged; {ANEW}."
        ) from error
    if any("/" in name or "\\" in name for name in names):
        raise CheckpointError(
            f"The checkpoint {where} names files outside of it; {ANEW}."
        )
    return head


def _check_origin(
    head: dict, where: str, identity: Mapping[str, object], device: str
) -> None:
    """Refuse what other settings, sources or devices made."""
    theirs = head["identity"]
    for name in sorted({*identity, *theirs}):
        if theirs.get(name) != identity.get(name):
            raise CheckpointError(
                f"The checkpoint {where} was made with {name} {theirs.get(name)!r}, "
                f"now it is {identity.get(name)!r}; {ANEW}."
            )
    if changed := sources.changed(head["sources"]):
        raise CheckpointError(
            f"The checkpoint {where} was made by other sources "
            f"({', '.join(changed[:5])} changed since); {ANEW}."
        )
    if not head["finished"] and head["device"] != device:
        raise CheckpointError(
            f"The checkpoint {where} is half-way on {head['device']}, which {device} "
            f"would not repeat; continue on {head['device']}, or {ANEW}."
        )


def _read_file(path: Path, sha256: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"{atomic.shown(path)} of the checkpoint could not be read "
            f"({error.strerror}); {ANEW}."
        ) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise CheckpointError(
            f"{atomic.shown(path)} is not the file its checkpoint wrote; {ANEW}."
        )
    return content


def _restore(
    saving: Mapping[str, object],
    tensors: Mapping[str, Tensor],
    states: Mapping[str, dict],
    where: str,
) -> None:
    theirs = {key.partition("/")[0] for key in tensors} | states.keys()
    if theirs != saving.keys():
        raise CheckpointError(
            f"The checkpoint {where} holds {sorted(theirs)}, this stage saves "
            f"{sorted(saving)}; {ANEW}."
        )
    for name, item in saving.items():
        part = {
            key.partition("/")[2]: value
            for key, value in tensors.items()
            if key.partition("/")[0] == name
        }
        if isinstance(item, nn.Module):
            load_into(item, part, f"{name} of the checkpoint {where}")
        elif isinstance(item, Tensor):
            if part[""].shape != item.shape:
                raise CheckpointError(
                    f"{name} of the checkpoint {where} is {tuple(part[''].shape)}, "
                    f"needed {tuple(item.shape)}; {ANEW}."
                )
            with torch.no_grad():
                item.copy_(part[""])
        else:
            item.load_state_dict(states[name])
