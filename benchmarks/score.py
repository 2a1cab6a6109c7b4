"""`thesislib score`: 1,000 new images of 256 px by a PaDiM run, seconds and memory.

    python benchmarks/score.py [--images 1000]

The run is sealed first: PaDiM on an untrained encoder, chapter 5's quick settings, a
phantom. Goals: a minute on two cores, and memory that does not grow with the images.
"""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 256  # pixels


def sealed_run(folder: Path):
    """A run of chapter 5 that has fitted one PaDiM and nothing else."""
    for name in ("RESULTS", "DATA", "CACHE"):
        os.environ[f"THESIS_{name}"] = str(folder / name.lower())
    from thesislib import runs
    from thesislib.chapters.ch05_pmsacl import methods
    from thesislib.chapters.ch05_pmsacl.settings import Chapter05
    from thesislib.study import detection

    given = {"study.baselines": ["random"], "study.igd": [], "data.num_train": 400}
    run = runs.start(Chapter05, {"source": "phantom", "overrides": given})
    chosen = [m for m in methods.methods(run) if m.key == "random-padim"]
    detection.rows(run, chosen)
    run.finish()
    return run.folder


def pictures(folder: Path, number: int) -> list[Path]:
    """Smooth random pictures, as PNG files."""
    folder.mkdir()
    random = np.random.default_rng(0)
    files = [folder / f"{index:05d}.png" for index in range(number)]
    for file in files:
        small = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(small).resize((SIDE, SIDE)).save(file)
    return files


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1_000)
    number = parser.parse_args().images
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        run = sealed_run(folder)
        files = pictures(folder / "images", number)
        from thesislib import scoring

        loaded = scoring.load(run, "random-padim")
        scoring.write(loaded, files[: number // 5], folder / "few")
        before, began = peak_megabytes(), time.perf_counter()
        scoring.write(loaded, files, folder / "all")
        seconds = time.perf_counter() - began
        grown = peak_megabytes() - before
    print(f"{number} images of {SIDE} px: {seconds:.1f} s with maps (goal 60)")
    print(
        f"peak memory {before:.0f} MB after a fifth of them, +{grown:.0f} MB at the end"
    )


if __name__ == "__main__":
    main()
