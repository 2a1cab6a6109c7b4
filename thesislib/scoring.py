"""Use what was trained: the detector of a sealed run on images of one's own.

`thesislib.load(RUN)` in Python and `thesislib score RUN IMAGES...` in a shell. The
training data need not be there. Images are decoded as the run decoded its own; what
the run has never seen, another organ or another kind of image, nobody can know from a
score.
"""

import csv
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from PIL import Image

from thesislib import atomic, chapters, paths, sources
from thesislib.datasets import decode, dicom, filelist, registry
from thesislib.datasets.greys import Greys
from thesislib.datasets.packed import Images, PackedReader
from thesislib.detectors.scales import Scored
from thesislib.errors import InputError
from thesislib.runs import device
from thesislib.runs import record as records
from thesislib.runs.parameters import read as read_parameters
from thesislib.training import seeding
from thesislib.training.progress import Progress

NOT_FOR = (
    "Scores are of use for images like those that the run was trained on; of any "
    "others nobody can know what they mean. Research software, not for diagnosis."
)
ENDINGS = (*filelist.ENDINGS, dicom.ENDING)


class Loaded:
    """A sealed run's detector.

    Attributes:
        row: Row key of the method, `pmsacl-padim`.
        label: The method for readers.
        threshold: Of the run, Section 5.4.3; at or above it an image is called
            abnormal. It may be infinite, where calling every image normal, or every
            one abnormal, was best.
        map_ends: Ends of the run's colour scale, None if the method draws no maps.
        image_size: Side to which images are brought, pixels.
    """

    _greys: Greys | None = None  # how the run read files of more than 8 bits
    _eight_bits = False  # it had none, and says so

    def __init__(self, run: Any, method: Any, about: dict[str, Any], weights: dict):
        self.row, self.label = about["row"], about["label"]
        self.threshold = float(about["threshold"])
        self.map_ends = about["map_ends"]
        self.image_size, self.channels = about["image_size"], about["channels"]
        self._batch_size, self._device = about["batch_size"], run.device
        # A phantom is drawn as it is; files of a real dataset may be cropped or padded.
        self._adapter = None
        if run.source == "real":
            self._adapter = registry.adapter(run.parameters.dataset)
        self._greys, self._eight_bits = run.greys, run.eight_bits
        shape = (self.channels, self.image_size)
        self._detector = method.blank(run, shape).restore(weights).to(run.device)

    def score(self, images: Any) -> np.ndarray:
        """Scores of images, (N,), larger is more abnormal.

        Args:
            images: Files, or folders whose image files are taken in order of name, as
                one path or several; or an array, (N, C, H, W), uint8 or in [0, 1].

        Raises:
            InputError: If a file cannot be read, or an array has another shape.
        """
        found = self._scored(self._batches(images), maps=False)
        return np.concatenate([scored.scores.numpy() for scored in found])

    def maps(self, images: Any) -> np.ndarray:
        """Anomaly maps, (N, image_size, image_size); see `score`.

        Raises:
            InputError: If the method draws none.
        """
        if self.map_ends is None:
            raise InputError(f"{self.label} draws no anomaly maps.")
        found = self._scored(self._batches(images), maps=True)
        return np.concatenate([own_map(scored) for scored in found])

    def scored_files(self, files: Sequence[Path], maps: bool) -> Iterator:
        """(file, score, map or None) of each file, a batch at a time."""
        for start in range(0, len(files), self._batch_size):
            few = files[start : start + self._batch_size]
            batch = np.stack([self.read(path) for path in few])
            (scored,) = self._scored([batch], maps=maps)
            drawn = own_map(scored) if maps else [None] * len(few)
            yield from zip(few, scored.scores.tolist(), drawn, strict=True)

    def read(self, path: Path) -> np.ndarray:
        """A file as the run decodes its own, (C, H, W), uint8.

        Raises:
            InputError: If it is no image that can be read.
        """
        packed = isinstance(self._adapter, PackedReader)
        size = self._adapter.size if packed else self.image_size
        box = getattr(self._adapter, "box", (0.0, 1.0))
        try:
            if self._eight_bits and decode.examine(path).low is not None:
                raise decode.BadImageError(
                    "it has more than 8 bits a value and the run's own images have 8, "
                    "or say which value is white; save it with 8"
                )
            image = decode.read_image(path, size, box, self._greys)[0]
        except decode.BadImageError as error:
            raise InputError(f"{path} cannot be read: {error}.") from error
        if self.channels == 1:
            grey = Image.fromarray(image.transpose(1, 2, 0)).convert("L")
            image = np.asarray(grey)[None]
        if packed:
            image = Images(image[None], self.image_size, None).take(np.array([0]))[0]
        return image

    def _batches(self, images: Any) -> Iterator[np.ndarray]:
        if isinstance(images, np.ndarray | torch.Tensor):
            yield from self._slices(np.asarray(images))
            return
        files = list_files([images] if isinstance(images, str | Path) else images)
        for start in range(0, len(files), self._batch_size):
            few = files[start : start + self._batch_size]
            yield np.stack([self.read(path) for path in few])

    def _slices(self, images: np.ndarray) -> Iterator[np.ndarray]:
        wanted = (self.channels, self.image_size, self.image_size)
        if images.ndim != 4 or images.shape[1:] != wanted:
            raise InputError(
                f"The images have shape {images.shape}; this run takes (N, "
                f"{', '.join(map(str, wanted))}), or files of any size."
            )
        for start in range(0, len(images), self._batch_size):
            yield images[start : start + self._batch_size]

    def _scored(self, batches: Iterable[np.ndarray], *, maps: bool) -> Iterator[Scored]:
        for batch in batches:
            images = torch.as_tensor(batch).to(self._device, torch.float32)
            if batch.dtype == np.uint8:
                images = images.div_(255)
            yield self._detector.score(lambda images=images: [images], maps=maps)


def threshold_words(threshold: float) -> str:
    """A run's threshold, and what it means where it is infinite."""
    if math.isfinite(threshold):
        return f"{threshold:.4g}"
    called = "abnormal" if threshold < 0 else "normal"
    return (
        f"{threshold} (on the run's own images nothing was better than calling every "
        f"one {called})"
    )


def own_map(scored: Scored) -> np.ndarray:
    """A method's own maps, (B, H, W)."""
    return list(scored.maps.values())[-1].numpy()


def load(
    run: str | Path,
    method: str = "",
    *,
    of_class: str = "",
    methods: Sequence[str] = (),
    device_name: str = "auto",
) -> Loaded:
    """The detector of a sealed run.

    Args:
        run: Its folder below `results/`, or the path of its record in there.
        method: Row key; "" takes the chapter's own method.
        of_class: The normal class, where several took turns; "" takes the first.
        methods: Files of the reader's own methods, if it is one of those.
        device_name: As the parameter `device`.

    Raises:
        InputError: If the run is not sealed, was altered, or does not keep the method.
    """
    folder = _folder(run)
    record = _sealed_record(folder)
    files = sorted(folder.glob("models/*.safetensors"))
    kept = {path: _about(path) for path in files}
    rows = dict.fromkeys(about["row"] for about in kept.values())
    chosen = [
        path
        for path, about in kept.items()
        if method in ("", about["row"]) and of_class in ("", about["class"])
    ]
    if not chosen:
        asked = " of class ".join(filter(None, (method, of_class))) or "a detector"
        has = f"it keeps {', '.join(rows)}" if rows else "it keeps none"
        raise InputError(f"{atomic.shown(folder)} does not keep {asked}; {has}.")
    seeding.use_threads()
    opened = _rebuilt(record, methods, device_name, chosen[0], kept[chosen[0]])
    rows_of = chapters.part(record["chapter"], "methods").methods
    known = {one.key: one for one in rows_of(opened)}
    first = next((key for key in known if key in rows), "")
    path = next((p for p in chosen if kept[p]["row"] == (method or first)), chosen[0])
    about, name = kept[path], path.relative_to(folder).as_posix()
    if record["files"].get(name) != sources.sha256_file(path):
        raise InputError(f"{name} of {atomic.shown(folder)} is not what was sealed.")
    if about["row"] not in known:
        raise InputError(
            f"{about['row']} is a method of a reader's; give its file as `methods`."
        )
    weights = safetensors.torch.load_file(path)
    return Loaded(opened, known[about["row"]], about, weights)


def list_files(given: Sequence[str | Path]) -> list[Path]:
    """Image files, those of folders (and folders in them) in order of name.

    In a folder those count that have the ending of an image or begin as DICOM files.

    Raises:
        InputError: If a path is not there, or a folder holds no image.
    """
    files: list[Path] = []
    for one in map(Path, given):
        path = one if one.exists() else paths.resolve(one)
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if _is_image(p))
            if not inside:
                raise InputError(f"{one} holds no image ({', '.join(ENDINGS)}).")
            files += inside
        elif path.is_file():
            files.append(path)
        else:
            where = paths.looked_for(one)
            raise InputError(f"{one} is neither a file nor a folder{where}.")
    dicom.require(files, "What is to be scored")
    return files


def _is_image(path: Path) -> bool:
    if filelist.is_leftover(path) or not path.is_file():
        return False
    return path.suffix.lower() in ENDINGS or dicom.is_dicom(path)


def write(
    loaded: Loaded, files: Sequence[Path], to: Path, *, maps: bool = True
) -> tuple[Path, int]:
    """Score files into `to/scores.csv` and, as pictures, `to/maps/`.

    Columns: file, score, threshold (-inf or inf where it is infinite), above (1 at or
    above the threshold). What lies in `to` is not overwritten.

    Returns:
        The table, and how many files lie at or above the threshold.

    Raises:
        InputError: If `to` holds scores already, or a file cannot be read.
    """
    table = to / "scores.csv"
    if table.exists():
        raise InputError(f"{table} is there already; name another folder by --to.")
    maps = maps and loaded.map_ends is not None
    (to / "maps" if maps else to).mkdir(parents=True, exist_ok=True)
    progress, above = Progress(len(files), "scores"), 0
    part = table.with_suffix(".part")
    with part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("file", "score", "threshold", "above"))
        scored = loaded.scored_files(files, maps)
        for number, (path, score, drawn) in enumerate(scored, start=1):
            called = score >= loaded.threshold
            above += called
            writer.writerow((path, repr(score), repr(loaded.threshold), int(called)))
            if maps:
                name = f"{number:06d}-{path.stem}.png"
                _picture(drawn, loaded.map_ends).save(to / "maps" / name)
            progress.update(number)
    part.replace(table)
    progress.close()
    return table, above


def _picture(drawn: np.ndarray, ends: Sequence[float]) -> Image.Image:
    """A map on the run's colour scale."""
    from thesislib.figures.style import map_colours

    low, high = ends
    share = (drawn - low) / max(high - low, np.finfo(float).tiny)
    return Image.fromarray(map_colours()[(share.clip(0, 1) * 255).astype(np.uint8)])


def _folder(run: str | Path) -> Path:
    path = paths.resolve(run)
    found = [path, paths.results_dir() / run]
    for folder in (one.parent if one.name == "run.json" else one for one in found):
        if (folder / "run.json").is_file():
            return folder
    raise InputError(f"{run} holds no run; give a folder below results/.")


def _sealed_record(folder: Path) -> dict[str, Any]:
    record = records.read(folder / "run.json")
    if record is None or not records.is_sealed(record):
        raise InputError(
            f"{atomic.shown(folder)} is not a sealed run, so its detector is not used."
        )
    return record


def _about(path: Path) -> dict[str, Any]:
    with safetensors.safe_open(path, "pt") as file:
        return json.loads(file.metadata()["about"])


def _rebuilt(
    record: dict[str, Any],
    methods: Sequence[str],
    device_name: str,
    path: Path,
    about: dict[str, Any],
) -> SimpleNamespace:
    """What a chapter's rows need to know of a run: settings and shapes, no data."""
    kind = chapters.part(record["chapter"], "settings").PARAMETERS
    given = {**record["parameters"]["resolved"], "data_root": "", "device": device_name}
    given |= {"methods": list(methods), "patients": "", "file_list": ""}  # of training
    if given.get("weights"):  # they came with the detector, whatever file they were in
        given["weights"] = str(path.resolve())
    parameters = read_parameters(kind, given)
    parameters.run_files()
    names = (about["class"],) if about["class"] else None
    provenance = record["dataset"]["provenance"]
    greys = provenance.get("greys")  # older records do not say
    train = SimpleNamespace(image_size=about["image_size"], channels=about["channels"])
    return SimpleNamespace(
        parameters=parameters,
        configs=parameters.resolved_configs(),
        data=SimpleNamespace(train=train, class_names=names, test_masks=None),
        device=device.resolve(device_name),
        source=record["dataset"]["source"],
        greys=Greys(**greys) if greys else None,
        eight_bits="greys" in provenance and not greys,
    )
