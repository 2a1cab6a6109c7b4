"""Numbers in words: the one way the ledger, the pages and the tables write them.

A `result` is one of `report.designs`.
"""

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from thesislib import paper
from thesislib.paper import Cell

METRICS = {
    "auc": "AUROC",
    "ap": "AP",
    "iou": "IoU",
    "dice": "Dice",
    "pro": "PRO",
    "f1": "F1",
    "fpr95": "FPR95",
    "pixel_auc": "pixel AUROC",
    "pixel_ap": "pixel AP",
    "iou oracle": "IoU (oracle)",
    "dice oracle": "Dice (oracle)",
    "auc difference": "AUROC difference",
    "auc_full": "AUROC, full training set",
    "auc_small20": "AUROC, 20 % of the training images",
    "auc_contaminated10": "AUROC, 10 % of the training set abnormal",
}
DATASETS = {
    "hyperkvasir": "Hyper-Kvasir",
    "lag": "LAG",
    "liu-colonoscopy": "Liu et al. colonoscopy",
    "covidx": "Covid-X",
    "chestxray": "Kermany chest X-ray",
    "folder": "own images",
    "oct2017": "Kermany OCT",
    "mvtec": "MVTec AD",
    "mnist": "MNIST",
    "fmnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "ucfcrime": "UCF-Crime",
    "shanghaitech": "ShanghaiTech",
    "xdviolence": "XD-Violence",
    "ucsdped2": "UCSD Ped2",
    "polypvideo": "polyp videos",
    "lostandfound": "LostAndFound",
    "fishyscapes-laf": "Fishyscapes LostAndFound",
    "fishyscapes-static": "Fishyscapes Static",
    "roadanomaly": "Road Anomaly",
}
ENCODERS = {  # first words of row keys
    "random": "untrained encoder",
    "class": "class term only",
    "pmsacl": "PMSACL",
    "ccd": "CCD",
    "simclr": "SimCLR",
    "rotnet": "RotNet",
    "csi": "CSI",
    "droc": "DROC",
    "supcon": "SupCon",
}
DETECTORS = {
    "igd": "IGD",
    "f-anogan": "f-AnoGAN",
    "ms-ssim": "MS-SSIM AE",
    "padim": "PaDiM",
    "dsvdd": "Deep SVDD",
    "dsvdd-rec": "Deep SVDD + REC",
    "vae": "VAE",
    "dae": "DAE",
    "kde": "KDE",
    "ocsvm": "one-class SVM",
}
FLOORS = {  # row key of a naive baseline: what it is
    "nn-statistics": "nearest normal image, intensity statistics",
    "nn-thumbnails-16": "nearest normal image, 16 px thumbnails",
    "nn-thumbnails-32": "nearest normal image, 32 px thumbnails",
    "edge-strength": "distance from the normal images' mean edge strength",
    "gradient-energy": "distance from the normal images' mean gradient energy",
    "edge-oracle": "edge strength, its direction taken from test labels (oracle)",
    "logistic-statistics": "logistic regression on statistics, with labels",
    "cnn-ceiling": "small network trained on labelled phantoms",
}
LABELLED = ("edge-oracle", "logistic-statistics", "cnn-ceiling")  # not naive
STARTS = {
    "scratch": "Scratch",
    "imagenet": "ImageNet",
    "ssl": "SSL",
}  # blocks, as printed
COMPONENTS = {  # with the equation
    "l_con_vanilla": "contrast of SimCLR",
    "l_con": "contrast (4.2)",
    "l_pre": "augmentation (4.3)",
    "l_pat": "position (4.4)",
    "l_pmsacl": "contrast (5.4)",
    "l_ctr": "centring (5.3)",
    "kappa": "kappa (5.7)",
    "l_aug": "augmentation (5.8)",
    "l_pos": "position (5.9)",
    "mse": "MSE",
    "rec": "REC",
    "gac": "GAC",
    "inter": "INTER",
}
SHARES = {  # settings that are a part of something -> of what
    "train_fraction": "of the training images",
    "contamination": "of the training set abnormal",
    "oe_class_fraction": "of the outlier classes",
    "oe_train_fraction": "of the outlier images",
}
FIXED_THRESHOLD = {"mvtec": "0.5"}  # Section 6.4.2; elsewhere it is chosen on images
SOURCES = {"thesis": "thesis", "msacl": "MSACL preprint", "salad": "SALAD paper"}


def data(dataset: str, root: str = "") -> str:
    """What to call a dataset; of one's own images by their folder, too."""
    own = f" ({root})" if dataset == "folder" and root else ""
    return DATASETS.get(dataset, dataset) + own


def markdown(words: str) -> str:
    """Words with names of a reader's, as Markdown that shows them as they are."""
    words = " ".join(words.split())
    return re.sub(r"([\\`*_{}\[\]<>()#+!|$~&^])", r"\\\1", words)


def number(value: float | None, decimals: int = 3) -> str:
    return "–" if value is None else f"{value:.{decimals}f}"


def published(cell: Cell) -> str:
    """The printed number with the decimals printed."""
    if cell.value is None:
        return f"± {number(cell.std, cell.decimals)}"
    if cell.std is None:
        return number(cell.value, cell.decimals)
    return f"{number(cell.value, cell.decimals)} ± {number(cell.std, cell.decimals)}"


def value(result: Any, decimals: int = 3) -> str:
    """Our number: mean ± standard deviation over seeds, without interval or mark."""
    if result.std is None:
        return number(result.value, decimals)
    return f"{number(result.value, decimals)} ± {number(result.std, decimals)}"


def signed(result: Any, decimals: int = 3) -> str:
    """A difference with its sign and interval."""
    bounds = interval(result, decimals)
    return f"{result.value:+.{decimals}f}" + (f" {bounds}" if bounds != "–" else "")


def interval(result: Any, decimals: int = 3) -> str:
    if result.ci_low is None or result.ci_high is None:
        return "–"
    return f"[{number(result.ci_low, decimals)}, {number(result.ci_high, decimals)}]"


def metric(name: str) -> str:
    """`auc@lag` as "AUROC, LAG"."""
    quantity, _, where = name.partition("@")
    dataset, _, part = where.partition("/")
    words = [METRICS.get(quantity, quantity.replace("_", " "))]
    if quantity == "accuracy" and dataset in FIXED_THRESHOLD:
        words = [f"{quantity} at score {FIXED_THRESHOLD[dataset]}"]
    words += [DATASETS.get(dataset, dataset)] if dataset else []
    return ", ".join(words + ([part.replace("_", " ")] if part else []))


def row(key: str) -> str:
    """A row key in words: `ccd-f-anogan` as "CCD + f-AnoGAN"."""
    if words := DETECTORS.get(key) or FLOORS.get(key):
        return words
    first, _, detector = key.partition("-")
    if first in ENCODERS and detector in DETECTORS:
        return f"{ENCODERS[first]} + {DETECTORS[detector]}"
    return key.replace("-", " ")


def setting(given: Mapping[str, Any]) -> str:
    """The setting of a row in words, `20 % of the training images`."""
    return ", ".join(_said(key, item) for key, item in given.items())


def _said(key: str, item: Any) -> str:
    words = key.replace("_", " ")
    if key in SHARES:
        return f"{100 * item:g} % {SHARES[key]}"
    if key in ("minus", "floor"):
        return f"{'minus' if key == 'minus' else 'with'} {row(item)}"
    if key == "components":
        return " + ".join(COMPONENTS.get(one, one.removeprefix("l_")) for one in item)
    if isinstance(item, bool):
        return words if item else f"no {words}"
    if item is None:
        return f"{words} unnamed"
    if isinstance(item, list):
        return f"{words} {' and '.join(item)}"
    if not isinstance(item, str):
        return f"{words} {item}"
    known = {"pretrain": STARTS, "dataset": DATASETS}.get(key, {})
    return known.get(item, item)


@cache
def lines(table: str) -> dict[tuple[str, str], str]:
    """What to call each printed row of a table, (key, JSON of its setting) -> words.

    Its name in print, the components of an ablation in words, and the settings by which
    rows of one name differ somewhere in the table (the shares of Tables 6.6 and 6.7).
    Chapter 6 prints its tables in blocks, by what the encoders start from: so said.
    """
    printed = paper.table(table)
    rows, blocks = printed["rows"], ["pretrain"] * (printed["chapter"] == 6)
    told = {
        key
        for row in rows
        for other in rows
        if row["method"] == other["method"] or row["key"] == other["key"]
        for key in [*row["setting"], *blocks]
        if row["setting"].get(key) != other["setting"].get(key)
    }
    starts = {row["setting"].get("pretrain") for row in rows}
    told |= set(blocks) if len(starts) > 1 else set()
    found = {}
    for row in rows:
        name, own = (
            row["method"],
            {k: v for k, v in row["setting"].items() if k in told},
        )
        parts = own.pop("components", None) or ["?"]
        if COMPONENTS.keys() >= set(parts):
            name = setting({"components": parts})
        words = setting({k: v for k, v in own.items() if v is not None})
        if words and words.lower() not in name.lower():
            name = f"{name} ({words})"
        found[row["key"], json.dumps(row["setting"], sort_keys=True)] = name
    return found


def line(cell: Cell) -> str:
    """What to call a cell's row: no two lines of its table bear the same words."""
    return lines(cell.table)[cell.row, json.dumps(cell.setting, sort_keys=True)]
