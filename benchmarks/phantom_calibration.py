"""How hard are the phantoms? Naive baselines and a supervised ceiling, no method.

    python benchmarks/phantom_calibration.py           # the tables, ten minutes
    python benchmarks/phantom_calibration.py --modality fundus --strength 0 1 2
    python benchmarks/phantom_calibration.py --shapes  # the ten silhouettes, a minute

`DIFFICULTY` in `thesislib/datasets/phantoms` was chosen from these tables, then frozen:
in every lesion family the supervised ceiling reaches 0.9, while logistic regression on
grey-level statistics, trained with labels, stays below 0.75 and nearest neighbours
below 0.65. No detector but PaDiM on an untrained encoder is run here, and the draws are
used for nothing else. The two columns on edges came later and chose nothing.

Shapes have no lesions and no strength. Their table gives, for each class against the
nine others, the same two nearest neighbours. The silhouettes were accepted because the
mean over classes was below 0.8 on statistics and below 0.95 on thumbnails.

Columns, AUROC (mean over draws): 1NN statistics and thumbnails, one-class nearest
neighbour; edge, distance of the mean edge strength from its training mean, and edge
oracle, the strength itself in the direction that the labels favour; LR, supervised
logistic regression on the statistics; PaDiM, untrained encoder; CNN, the supervised
ceiling, trained for one family at the calibrated strength only. Area is the lesion's
share of the picture.
"""

import argparse
import time
from collections.abc import Iterator

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from thesislib.datasets import baselines, phantoms
from thesislib.datasets.phantoms import shapes
from thesislib.detectors.padim import PaDiM, PaDiMConfig
from thesislib.nn.resnet import ResNet18

NUM_TRAIN, NUM_TEST = 600, 400  # images of each class and draw
COLUMNS = ("1NN stat", "1NN thumb", "edge", "edge oracle", "LR", "PaDiM", "CNN")
FIRST_SEED = 7_700_000  # draws used here and nowhere else
BASE_WIDTH = 16  # quarter-width ResNet-18


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--modality", nargs="*", default=phantoms.MODALITIES)
    parser.add_argument("--strength", nargs="*", type=float, default=None)
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--size", type=int, default=64, help="pixels")
    parser.add_argument("--without-cnn", action="store_true")
    parser.add_argument("--shapes", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.shapes:
        print_shapes(options.size, options.draws)
        return
    for modality in options.modality:
        chosen = phantoms.DIFFICULTY[modality]
        strengths = options.strength or [0, 0.5 * chosen, chosen, 1.5 * chosen]
        print(f"\n{modality}, {options.size} px, calibrated strength {chosen}")
        print(f"{'strength':>8} {'family':>13} {'area':>6}", end="")
        print("".join(f" {name:>13}" for name in COLUMNS))
        start = time.process_time()
        for strength in strengths:
            ceiling = strength == chosen and not options.without_cnn
            draws = [
                measure(modality, strength, options.size, draw, ceiling)
                for draw in range(options.draws)
            ]
            for family in draws[0]:
                print_row(strength, family, np.array([d[family] for d in draws]))
        print(f"{time.process_time() - start:.0f} CPU-seconds", flush=True)


def print_shapes(size: int, draws: int) -> None:
    """AUROC of the nearest neighbours for each class of silhouettes, (mean, range)."""
    of_train = np.arange(10 * NUM_TRAIN) % 10
    of_test = np.arange(10 * NUM_TEST) % 10
    aucs = np.empty((2, draws, 10))
    for draw in range(draws):
        seed = FIRST_SEED + 100 * draw
        train = shapes.generate(of_train, size, seed).numpy()
        test = shapes.generate(of_test, size, seed + 1).numpy()
        for row, features in enumerate(
            (baselines.statistics_features, baselines.thumbnails)
        ):
            known, asked = features(train), features(test)
            for one in range(10):
                scores = baselines.one_class_nearest_neighbour(
                    known[of_train == one], asked
                )
                aucs[row, draw, one] = roc_auc_score(of_test != one, scores)
    print(
        f"\nshapes, {size} px\n{'class':>10}"
        + "".join(f" {c:>13}" for c in COLUMNS[:2])
    )
    for one, name in (*enumerate(shapes.NAMES), (slice(None), "mean")):
        values = aucs[:, :, one].reshape(2, draws, -1).mean(axis=2)
        cells = [f"{v.mean():.3f} ±{np.ptp(v) / 2:.3f}" for v in values]
        print(f"{name:>10}" + "".join(f" {cell:>13}" for cell in cells), flush=True)


def print_row(strength: float, family: str, values: np.ndarray) -> None:
    """One line of the table from (draws, 1 + columns): area, then AUROCs."""
    mean, half_range = values.mean(axis=0), np.ptp(values, axis=0) / 2
    cells = [
        "-" if np.isnan(m) else f"{m:.3f} ±{h:.3f}"
        for m, h in zip(mean[1:], half_range[1:], strict=True)
    ]
    print(f"{strength:8.2f} {family:>13} {mean[0]:6.1%}", end="")
    print("".join(f" {cell:>13}" for cell in cells), flush=True)


def measure(
    modality: str, strength: float, size: int, draw: int, ceiling: bool
) -> dict[str, list[float]]:
    """Area and AUROCs of the mixture and of each family alone, one draw."""
    seed = FIRST_SEED + 100 * draw

    def images_of(offset: int, num: int, ill: bool, family: str | None = None):
        return phantoms.generate(
            modality,
            num,
            size,
            seed + offset,
            torch.full((num,), ill),
            difficulty=strength,
            family=family,
        )

    train = images_of(0, NUM_TRAIN, False).images
    normal = images_of(1, NUM_TEST, False).images
    statistics = baselines.statistics_features(train)
    small = baselines.thumbnails(train)
    edges = baselines.edge_strength(train)
    padim = untrained_padim(train, seed)

    rows = {}
    labels = np.repeat([0, 1], NUM_TEST)
    for family in (None, *phantoms.FAMILIES[modality]):
        ill = images_of(2, NUM_TEST, True, family)
        test = torch.cat([normal, ill.images])
        features = baselines.statistics_features(test)
        test_edges = baselines.edge_strength(test)
        scores = [
            baselines.one_class_nearest_neighbour(statistics, features),
            baselines.one_class_nearest_neighbour(small, baselines.thumbnails(test)),
            baselines.distance_from_mean(edges, test_edges),
            baselines.oracle_direction(test_edges, labels),
            baselines.supervised_logistic(features, labels, seed),
            padim.score(batches(test))[0].numpy(),
        ]
        aucs = [roc_auc_score(labels, s) for s in scores]
        highest = np.nan
        if ceiling and family is not None:
            labelled = torch.cat([train, images_of(3, NUM_TRAIN, True, family).images])
            answers = np.repeat([0, 1], NUM_TRAIN)
            logits = baselines.supervised_cnn_scores(labelled, answers, test, seed)
            highest = roc_auc_score(labels, logits)
        rows[family or "mixture"] = [ill.masks.float().mean().item(), *aucs, highest]
    return rows


def untrained_padim(train: torch.Tensor, seed: int) -> PaDiM:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = ResNet18(BASE_WIDTH)
    return PaDiM(encoder, PaDiMConfig(), seed).fit(batches(train))


def batches(images: torch.Tensor) -> Iterator[torch.Tensor]:
    return (part.float() / 255 for part in images.split(32))


if __name__ == "__main__":
    main()
