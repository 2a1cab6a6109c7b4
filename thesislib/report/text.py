"""Numbers in words: the one way the ledger, the pages and the tables write them."""

from thesislib.paper import Cell
from thesislib.report.designs import Result

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
FIXED_THRESHOLD = {"mvtec": "0.5"}  # Section 6.4.2; elsewhere it is chosen on images
SOURCES = {"thesis": "thesis", "msacl": "MSACL preprint", "salad": "SALAD paper"}


def number(value: float | None, decimals: int = 3) -> str:
    return "–" if value is None else f"{value:.{decimals}f}"


def published(cell: Cell) -> str:
    """The printed number with the decimals printed."""
    if cell.value is None:
        return f"± {number(cell.std, cell.decimals)}"
    if cell.std is None:
        return number(cell.value, cell.decimals)
    return f"{number(cell.value, cell.decimals)} ± {number(cell.std, cell.decimals)}"


def value(result: Result, decimals: int = 3) -> str:
    """Our number: mean ± standard deviation over seeds, without interval or mark."""
    if result.std is None:
        return number(result.value, decimals)
    return f"{number(result.value, decimals)} ± {number(result.std, decimals)}"


def signed(result: Result, decimals: int = 3) -> str:
    """A difference with its sign and interval."""
    bounds = interval(result, decimals)
    return f"{result.value:+.{decimals}f}" + (f" {bounds}" if bounds != "–" else "")


def interval(result: Result, decimals: int = 3) -> str:
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


def setting(cell_setting: dict) -> str:
    """The setting of a row as printed rows of one key differ by it."""
    if "components" in cell_setting:
        return " + ".join(cell_setting["components"])
    words = []
    for key, item in cell_setting.items():
        if key == "minus":
            words.append(f"minus {item.replace('-', ' ')}")
        elif key == "dataset":
            words.append(DATASETS.get(item, item))
        elif key == "image_size" or not isinstance(item, str):
            shown = ", ".join(item) if isinstance(item, list) else item
            words.append(f"{key.replace('_', ' ')} {shown}")
        else:
            words.append(item)
    return ", ".join(words)
