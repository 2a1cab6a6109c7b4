"""The command `thesislib`.

It imports what a command needs when that command runs, so `--help` answers at once.
Errors are one sentence on stderr and exit code 1; wrong usage is exit code 2.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from thesislib import __version__, paths
from thesislib.errors import InputError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    given = _parser().parse_args(argv)
    try:
        return given.command(given)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output has left, as `head` does
        sys.stderr.close()
        return 1


def data_list(_: argparse.Namespace) -> int:
    """Say which datasets there are, which lie here and how to get the others."""
    from thesislib.datasets import check

    print(check.list_datasets(), end="")
    return 0


def data_check(given: argparse.Namespace) -> int:
    """Read a dataset as a run would and report what is there."""
    from thesislib import chapters
    from thesislib.datasets import check
    from thesislib.datasets.videos.base import VideoOptions

    of_videos = VideoOptions(
        ground_truth=given.ground_truth,
        allow_pickle=given.allow_pickle,
        annotations=str(paths.resolve(given.annotations)) if given.annotations else "",
    )
    report, usable = check.check(
        given.dataset,
        given.path,
        given.patients,
        of_videos,
        ask=chapters.left_out,
        on_bad_image=given.on_bad_image,
        file_list=given.file_list,
        grey_range=given.grey_range,
        lesion_levels=given.lesion_levels,
    )
    print(report, end="")
    return 0 if usable else 1


def features(given: argparse.Namespace) -> int:
    """Turn videos or folders of frames into features of snippets."""
    from thesislib.training.progress import reporter
    from thesislib.video.features import describer, extract

    lengths = {} if given.snippet is None else {"snippet": given.snippet}
    if given.stride is not None:
        lengths["stride"] = given.stride
    describe = describer(given.features, given.weights, given.crops, **lengths)
    source, target = paths.resolve(given.source), paths.written(given.target)
    made = extract(source, target, describe, reporter("videos"))
    print(f"{made} videos were described, features are in {target}.")
    return 0


def data_fetch(given: argparse.Namespace) -> int:
    """Download a dataset that anyone may download, and check it."""
    from thesislib.datasets import fetch

    folder = fetch.fetch(given.dataset, given.path)
    print(f"{given.dataset} is complete in {folder}.")
    return 0


def runs_list(_: argparse.Namespace) -> int:
    """List the runs in the results folder and the recorded ones."""
    from thesislib import atomic
    from thesislib.runs import record, recorded

    lines = []
    for path, found in record.find():
        where = atomic.shown(path.parent if path.name == "run.json" else path)
        if found is None:
            lines.append(("unreadable", "", "", where))
        elif path.name != "run.json":
            if problem := recorded.problem(found):
                lines.append(("damaged", "", "", f"{where} ({problem})"))
            else:
                rows = len(recorded.expanded(found)["rows"])
                lines.append(("recorded", found["finished"], f"{rows}", where))
        elif record.is_sealed(found):
            lines.append(("sealed", found["finished"], f"{len(found['rows'])}", where))
        else:
            broken = found["status"] == "sealed"
            status = "seal broken" if broken else str(found["status"])
            lines.append((status, "", "", where))
    if not lines:
        print(f"No runs in {atomic.shown(paths.results_dir())} yet.")
        return 0
    print(f"{'status':<12} {'finished':<21} {'rows':>5}  run")
    for status, finished, rows, where in lines:
        print(f"{status:<12} {finished:<21} {rows:>5}  {where}")
    return 0


def runs_verify(given: argparse.Namespace) -> int:
    """Recompute what sealed runs say; exit code 1 if anything no longer agrees."""
    from thesislib.runs.verification import verify

    findings = verify([paths.resolve(path) for path in given.paths])
    for finding in findings:
        print(finding)
    if not findings:
        print("No runs yet.")
    return 1 if any(finding.kind == "wrong" for finding in findings) else 0


def runs_record(given: argparse.Namespace) -> int:
    """Keep a sealed run in a few kilobytes, without its scores, with the book."""
    from thesislib import atomic
    from thesislib.report import recording

    path, text = recording.write(
        paths.resolve(given.folder),
        paths.written(given.to) if given.to else None,
        published_only=given.published_only,
    )
    print(f"{atomic.shown(path)}: {len(text.encode()) / 1000:.1f} kB.")
    return 0


def score(given: argparse.Namespace) -> int:
    """Score images of your own by the detector of a sealed run."""
    from thesislib import scoring

    loaded = scoring.load(
        given.run,
        given.method or "",
        of_class=given.of_class or "",
        methods=given.methods,
        device_name=given.device,
    )
    files = scoring.list_files(given.images)
    to = paths.written(given.to or Path("scores") / Path(given.run).name)
    table, above = scoring.write(loaded, files, to, maps=not given.no_maps)
    print(
        f"{len(files)} images by {loaded.label}: {above} at or above the threshold "
        f"{scoring.threshold_words(loaded.threshold)}. {table}\n{scoring.NOT_FOR}"
    )
    return 0


def ledger(given: argparse.Namespace) -> int:
    """Print every published number beside ours."""
    from thesislib.report import listing

    listing.show(given.table, as_json=given.json)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="thesislib",
        description="Companion to a thesis on anomaly detection in medical images. "
        "Research software, not for diagnosis.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    data = commands.add_parser("data", help="datasets: which are here, are they whole")
    data_commands = data.add_subparsers(required=True, metavar="COMMAND")
    _add(data_commands, "list", data_list)
    check = _add(data_commands, "check", data_check)
    check.add_argument("dataset", metavar="DATASET", help="a name from `data list`")
    check.add_argument("path", metavar="PATH", help="the dataset's folder")
    check.add_argument(
        "--patients",
        metavar="PATTERN_OR_CSV",
        default="",
        help="for folder: a regular expression with one group for the patient in a "
        "file's name, a CSV file with the columns file and patient, or dicom",
    )
    check.add_argument(
        "--on-bad-image",
        choices=("error", "skip"),
        default="error",
        help="skip leaves out files that cannot be used",
    )
    check.add_argument(
        "--file-list",
        metavar="CSV",
        default="",
        help="a file with the columns file and split, in place of the split",
    )
    check.add_argument(
        "--grey-range",
        metavar=("BLACK", "WHITE"),
        nargs=2,
        type=float,
        default=(),
        help="of files of more than 8 bits; without it their values decide",
    )
    check.add_argument(
        "--lesion-levels",
        metavar="GREY",
        nargs="+",
        type=int,
        default=(),
        help="grey levels of masks that are lesions; without it the upper half",
    )
    check.add_argument(
        "--annotations",
        metavar="FOLDER",
        default="",
        help="of videos: folder with the lists, where they lie apart from the features",
    )
    check.add_argument(
        "--ground-truth",
        choices=("rtfm", "vadclip", "ur-dmu"),
        default="rtfm",
        help="of ucfcrime: whose rule makes labels of frames",
    )
    check.add_argument(
        "--allow-pickle",
        action="store_true",
        help="of videos: read features in pickles, by a restricted unpickler",
    )
    describe = _add(data_commands, "features", features)
    describe.add_argument("source", metavar="VIDEOS", help="video files, or frames")
    describe.add_argument("target", metavar="FEATURES", help="folder for .npy files")
    describe.add_argument(
        "--features",
        default="motion",
        help="motion (the default), motion+appearance, r3d_18, mc3_18, r2plus1d_18 or "
        "i3d_r50",
    )
    describe.add_argument("--weights", default="", help="file, of a network")
    describe.add_argument("--crops", type=int, default=10, help="1, 5 or 10")
    describe.add_argument("--snippet", type=int, help="frames a snippet")
    describe.add_argument("--stride", type=int, help="frames between snippets")
    fetch = _add(data_commands, "fetch", data_fetch)
    fetch.add_argument("dataset", metavar="DATASET", help="mnist, fmnist or cifar10")
    fetch.add_argument(
        "path",
        metavar="PATH",
        nargs="?",
        help="folder for its files; default where runs look for them",
    )

    runs = commands.add_parser("runs", help="runs: list them, recompute what they say")
    runs_commands = runs.add_subparsers(required=True, metavar="COMMAND")
    _add(runs_commands, "list", runs_list)
    verify = _add(runs_commands, "verify", runs_verify)
    verify.add_argument(
        "paths",
        metavar="PATH",
        nargs="*",
        help="run folders or records; default all in results/ and book/records/",
    )

    keep = _add(runs_commands, "record", runs_record)
    keep.add_argument("folder", metavar="RUN_FOLDER", type=Path, help="below results/")
    keep.add_argument("--to", type=Path, help="folder; default book/records")
    keep.add_argument(
        "--published-only",
        action="store_true",
        help="leave out rows without a published counterpart; the record says so",
    )

    scored = _add(commands, "score", score)
    scored.add_argument("run", metavar="RUN", help="a sealed run, below results/")
    scored.add_argument(
        "images", metavar="IMAGES", nargs="+", help="image files, or folders of them"
    )
    scored.add_argument("--method", help="row key; default the chapter's own method")
    scored.add_argument("--of-class", help="normal class, where several took turns")
    scored.add_argument(
        "--methods", metavar="FILE", nargs="*", default=[], help="files of own methods"
    )
    scored.add_argument("--to", type=Path, help="folder; default scores/RUN")
    scored.add_argument("--no-maps", action="store_true", help="the table alone")
    scored.add_argument("--device", default="auto", help="auto, cpu, cuda, mps")

    found = _add(commands, "ledger", ledger)
    found.add_argument("--json", action="store_true", help="everything, as JSON")
    found.add_argument("--table", help="one published table, such as 5.1")
    return parser


def _add(commands, name, command) -> argparse.ArgumentParser:
    """Add a command described by the first line of its function."""
    text = command.__doc__.splitlines()[0]
    parser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(command=command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
