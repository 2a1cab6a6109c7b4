"""Chapter 6: where images are abnormal, Tables 6.3 and A.5."""

import numpy as np

from thesislib.experiments import chapter06
from thesislib.experiments.chapter06 import Task
from thesislib.experiments.chapter06_tables import SCALES, printed_in, run_method
from thesislib.experiments.one_class import data_of
from thesislib.experiments.tables import estimate_html, table_html
from thesislib.metrics.per_image import mean_of_images, over_classes


def localisation(run) -> str:
    """Pixel metrics of the global, the local and both maps, where masks exist.

    Tables 6.3 and A.5 are the mean over abnormal images of each image's own pixel
    AUROC; the other columns take all pixels of all images together.
    """
    tasks = chapter06.full_tasks(run)
    if data_of(run, tasks[0]).test_masks is None:
        return "<p><em>Not run</em>: this dataset has no masks.</p>"
    lines, whole = [], []
    for task in tasks:
        found = run_method(run, "igd", task, maps=True)
        last = list(found.pixels)[-1]
        for scale, pixels in found.pixels.items():
            each = mean_of_images(found.images[scale])
            if scale == last:
                _add_localisation(run, task, found.images[scale])
                whole.append(found.images[scale])
            setting = {**chapter06.pretrain(run), "scale": scale, "pixels": "all"}
            setting |= {"class": task.name} if task.name else {}
            run.add_histograms("igd", setting, pixels.to_arrays())
            cells = [estimate_html(each)]
            for metric, bounded in (
                ("pixel_auc", pixels.auroc()),
                ("pixel_ap", pixels.ap()),
                ("pro", pixels.pro()),
            ):
                number = len(data_of(run, task).test_labels)
                run.add_row(None, "igd", setting, metric, bounded.value, n=number)
                cells.append(f"{bounded.value:.3f}")
            lines.append((f"{task.name} {SCALES[scale]}".strip(), *cells))
    if tasks[0].name:
        setting = chapter06.pretrain(run)
        table = printed_in("6.3", "igd", setting)
        run.add_row(table, "igd", setting, "pixel_auc", *over_classes(whole)[1])
    return table_html(
        "Pixel AUROC image by image, abnormal images only (Tables 6.3, A.5), and of "
        "all pixels of all test images together.",
        ("maps", "image by image", "pixel AUROC", "pixel AP", "PRO to 0.3"),
        lines,
        run,
    )


def _add_localisation(run, task: Task, aurocs: np.ndarray) -> None:
    """The row of Table A.5, or its like where no table prints the dataset."""
    setting, name = chapter06.pretrain(run), run.parameters.dataset
    metric = f"pixel_auc@{name}" + (f"/{task.name}" if task.name else "")
    table = printed_in("A.5", "igd", setting) if name == "mvtec" else None
    run.add_histograms("igd", {**setting, "images": task.name}, {"aurocs": aurocs})
    run.add_row(table, "igd", setting, metric, *mean_of_images(aurocs))
