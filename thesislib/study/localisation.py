"""The section on where images are abnormal, for datasets with masks."""

from collections.abc import Sequence

from thesislib.metrics.per_image import mean_of_images, over_classes
from thesislib.report.tables import beside
from thesislib.study import units
from thesislib.study.html import estimate_html, not_run, table_html
from thesislib.study.method import Method, detect
from thesislib.study.optional import section
from thesislib.study.task import WHOLE, Task, data_of

SCALES = {"igd": "global", "local": "local", "both": "global + local"}
ALL_PIXELS = {"pixels": "all"}
NO_MASKS = not_run("this dataset has no masks", ".")
IN_GROUPS = {  # metric of a row -> figure of `Detection.groups`
    "iou": "iou global",
    "dice": "dice global",
    "pro": "pro ranking",
    "iou oracle": "iou oracle",
    "dice oracle": "dice oracle",
}


def in_groups(run, methods: Sequence[Method], table_id: str | None, title: str) -> str:
    """Tables 4.2, 5.6 and 5.7, and all pixels together, for datasets with masks.

    Args:
        title: Of a table of ours alone.
    """
    if run.data.test_masks is None:
        return NO_MASKS
    return _groups(run, methods, table_id, title) + _all_pixels(run, methods)


@section("localisation in groups of images", "groups")
def _groups(run, methods: Sequence[Method], table_id: str | None, title: str) -> str:
    """Means over groups of images, with the threshold named.

    IoU and Dice at the global threshold carry the published table.
    """
    for method in methods:
        table = units.printed_in(table_id, method.key)
        groups = detect(run, method).groups
        for metric, figure in IN_GROUPS.items() if groups else ():
            where = None if figure.endswith("oracle") else table
            run.add_row(where, method.key, {}, metric, *groups[figure])
    return beside(
        run.rows,
        table_id,
        metrics=tuple(IN_GROUPS),
        title="" if table_id else title,
        names={method.key: method.label for method in methods},
        partial=run.located.partial,
    )


@section("localisation, all pixels together", "pixels")
def _all_pixels(run, methods: Sequence[Method]) -> str:
    """Metrics of all pixels of all test images together."""
    for method in methods:
        found = detect(run, method)
        if found.scale in found.pixels:
            pixels, number = found.pixels[found.scale], len(run.data.test_labels)
            units.add_pixels(run, method.key, ALL_PIXELS, pixels, number)
    return beside(
        [{**r, "setting": {}} for r in run.rows if r["setting"] == ALL_PIXELS],
        None,
        metrics=("pixel_auc", "pixel_ap", "fpr95", "pro"),
        title="All pixels of all test images together.",
        names={method.key: method.label for method in methods},
        partial=run.located.partial,
    )


@section("localisation image by image")
def image_by_image(
    run,
    method: Method,
    tasks: Sequence[Task] = (WHOLE,),
    class_table: str | None = None,
    mean_table: str | None = None,
) -> str:
    """Pixel metrics of every scale's maps, where masks exist.

    Tables 6.3 and A.5 are the mean over abnormal images of each image's own pixel
    AUROC; the other columns take all pixels of all images together.
    """
    if data_of(run, tasks[0]).test_masks is None:
        return NO_MASKS
    lines, whole, dataset = [], [], run.parameters.dataset
    for task in tasks:
        found = detect(run, method, task)
        number = len(data_of(run, task).test_labels)
        for scale, pixels in found.pixels.items():
            if scale == found.scale:
                whole.append(found.images[scale])
                where = f"pixel_auc@{dataset}" + (f"/{task.name}" if task.name else "")
                stored = {**method.setting, "images": task.name}
                run.add_histograms(method.key, stored, {"aurocs": whole[-1]})
                table = units.printed_in(class_table, method.key, method.setting)
                each = mean_of_images(whole[-1])
                run.add_row(table, method.key, method.setting, where, *each)
            setting = {**method.setting, "scale": scale, **ALL_PIXELS}
            setting |= {"class": task.name} if task.name else {}
            bounded = units.add_pixels(run, method.key, setting, pixels, number)
            cells = [
                f"{bounded[m].value:.3f}" for m in ("pixel_auc", "pixel_ap", "pro")
            ]
            name = f"{task.name} {SCALES.get(scale, scale)}".strip()
            each = estimate_html(mean_of_images(found.images[scale]))
            lines.append((name, each, *cells))
    if tasks[0].name:
        table = units.printed_in(mean_table, method.key, method.setting)
        mean = over_classes(whole)[1]
        run.add_row(table, method.key, method.setting, "pixel_auc", *mean)
    return table_html(
        "Pixel AUROC image by image, abnormal images only (Tables 6.3, A.5), and of "
        "all pixels of all test images together.",
        ("maps", "image by image", "pixel AUROC", "pixel AP", "PRO to 0.3"),
        lines,
        run,
    )
