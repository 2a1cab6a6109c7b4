"""Who may import whom: the rooms and floors of the package, and no circles.

Every import counts, also one inside a function, one for type checkers and one by
`import_module`. Importing `thesislib.runs.record` is an import of that file, not of the
room's `__init__.py`, which is read as a file like any other.
"""

import ast
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "thesislib"

# From the ground up; a room is a folder, or a file at the top of the package.
FLOORS = (
    ("errors", "paths", "ranges", "atomic", "sources"),
    ("datasets", "augment", "nn", "training", "metrics", "figures", "runs", "paper"),
    ("study", "pretrain", "detectors", "video", "segmentation", "report"),
    ("chapters", "scoring", "book", "cli", ""),  # "": the package's face
)
METHODS = ("pretrain", "detectors", "video", "segmentation")


@dataclass(frozen=True, order=True)
class Import:
    """One file of the package imports another one."""

    importer: str  # module, "thesislib.runs.record"
    imported: str
    line: int  # in the importer

    def __str__(self) -> str:
        return f"{self.importer} (line {self.line}) imports {self.imported}"


# --- Reading -----------------------------------------------------------------------


def files_of(package: Path) -> dict[str, Path]:
    """Module name -> file, of all files of a package."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(package: Path) -> list[Import]:
    """All imports between files of a package, sorted, each line once."""
    files = files_of(package)
    found = set()
    for module, path in files.items():
        is_room = path.name == "__init__.py"
        around = module if is_room else module.rpartition(".")[0]
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for line, name in _named(tree, around, files):
            if name != module:
                found.add(Import(module, name, line))
    return sorted(found)


def _named(
    tree: ast.AST, around: str, files: Collection[str]
) -> Iterator[tuple[int, str]]:
    """Line and module of each import that leads to one of `files`.

    Args:
        tree: A file.
        around: The package that it lies in, where relative imports start.
        files: Modules.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute("." * node.level + (node.module or ""), around).rstrip(".")
            inside = [f"{base}.{alias.name}" for alias in node.names]
            names = [name if name in files else base for name in inside]
        elif isinstance(node, ast.Call):
            names = _by_name(node, tree, around, files)
        else:
            continue
        yield from ((node.lineno, name) for name in names if name in files)


def _absolute(name: str, around: str) -> str:
    """`..errors` as `thesislib.errors`, and a lone dot as `thesislib.runs.`."""
    rest = name.lstrip(".")
    if not (level := len(name) - len(rest)):
        return name
    above = around.split(".")
    return ".".join([*above[: len(above) + 1 - level], rest])


def _by_name(
    call: ast.Call, tree: ast.AST, around: str, files: Collection[str]
) -> list[str]:
    """Modules that `import_module` may load.

    Of an f-string such as `f"thesislib.datasets.{module}"`, what follows may be any
    name that stands in the file; where more than one is left open, any module.
    """
    called = getattr(call.func, "attr", getattr(call.func, "id", None))
    if called not in ("import_module", "__import__") or not call.args:
        return []
    given = call.args[0]
    start, *rest = given.values if isinstance(given, ast.JoinedStr) else [given]
    if not isinstance(start, ast.Constant) or not isinstance(start.value, str):
        raise ValueError(f"line {call.lineno} imports what cannot be read from it")
    begin = _absolute(start.value, around)
    if not rest:
        return [begin]
    if len(rest) > 1:
        return [name for name in files if name.startswith(begin)]
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    names = {text for text in texts if isinstance(text, str) and text.isidentifier()}
    return [begin + name for name in names]


# --- Rules: each says what is wrong, nothing if all is well -------------------------


def circles(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """The shortest circle through each name that lies on one."""
    graph = defaultdict(set)
    for importer, imported in pairs:
        if importer != imported:
            graph[importer].add(imported)
    shortest = {}
    for name in sorted(graph):
        if way := _way_back(graph, name):
            shortest.setdefault(frozenset(way), " -> ".join([*way, name]))
    return list(shortest.values())


def _way_back(graph: dict[str, set[str]], start: str) -> tuple[str, ...]:
    """Names on a shortest way from `start` to itself; empty if there is none."""
    ways, seen = [(start,)], set()
    for way in ways:  # grows while it is read: breadth first
        for name in sorted(graph.get(way[-1], ())):
            if name == start:
                return way
            if name not in seen:
                seen.add(name)
                ways.append((*way, name))
    return ()


def circles_of_files(imports: Iterable[Import]) -> list[str]:
    return circles((one.importer, one.imported) for one in imports)


def circles_of_rooms(imports: Iterable[Import]) -> list[str]:
    return circles((room(one.importer), room(one.imported)) for one in imports)


def upwards(imports: Iterable[Import]) -> list[str]:
    return [
        f"{one}: that is upstairs"
        for one in imports
        if floor(one.importer) < floor(one.imported)
    ]


def study_of_chapters(imports: Iterable[Import]) -> list[str]:
    return [
        f"{one}: what all chapters share knows none of them"
        for one in imports
        if (room(one.importer), room(one.imported)) == ("study", "chapters")
    ]


def between_chapters(imports: Iterable[Import]) -> list[str]:
    """Only the face of `chapters/` may name several of them."""
    found = []
    for one in imports:
        here, there = one.importer.split("."), one.imported.split(".")
        both = here[1:2] == there[1:2] == ["chapters"] and here[2:] and there[2:]
        if both and here[2] != there[2]:
            found.append(f"{one}: chapters do not know each other")
    return found


def between_methods(imports: Iterable[Import]) -> list[str]:
    """What two rooms of methods need lies on the ground floor; others use methods."""
    return [
        f"{one}: methods know no other room of their floor"
        for one in imports
        if room(one.importer) in METHODS
        and room(one.imported) != room(one.importer)
        and floor(one.imported) == floor(one.importer)
    ]


def room(module: str) -> str:
    """`runs` of `thesislib.runs.record`; "" of the package itself."""
    return f"{module}.".split(".")[1]


def floor(module: str) -> int:
    """Its number in `FLOORS`; a room that is not listed stands above all others."""
    found = (n for n, rooms in enumerate(FLOORS) if room(module) in rooms)
    return next(found, len(FLOORS))


RULES = (
    circles_of_files,
    circles_of_rooms,
    upwards,
    study_of_chapters,
    between_chapters,
    between_methods,
)

# --- The package ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def imports():
    return imports_of(PACKAGE)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps(rule, imports):
    assert rule(imports) == []


def test_every_room_stands_on_one_floor():
    listed = [name for rooms in FLOORS for name in rooms]
    assert len(listed) == len(set(listed))
    assert {room(module) for module in files_of(PACKAGE)} <= set(listed)


# --- The rules, each broken once ------------------------------------------------------

SOUND = {
    "__init__.py": "",
    "errors.py": "import os",
    "runs/__init__.py": "def start():\n    from thesislib.runs.opening import start",
    "runs/opening.py": "from thesislib.runs import record\nfrom ..errors import Wrong",
    "runs/record.py": "from thesislib.errors import Wrong\nimport runs, json.decoder",
    "nn/resnet.py": "",
    "pretrain/pmsacl.py": "import thesislib.nn.resnet",
    "detectors/igd.py": "from thesislib.nn import resnet",
    "detectors/padim.py": "from thesislib.detectors.igd import fit",
    "report/text.py": "",
    "study/sections.py": "from thesislib.detectors import igd\nimport thesislib.runs",
    "chapters/__init__.py": "from thesislib.chapters import ch05_pmsacl, ch06_igd",
    "chapters/ch05_pmsacl/__init__.py": "",
    "chapters/ch05_pmsacl/settings.py": "from thesislib.pretrain import pmsacl",
    "chapters/ch05_pmsacl/methods.py": "from . import settings",
    "chapters/ch06_igd/__init__.py": "",
    "chapters/ch06_igd/settings.py": "from thesislib.study import sections",
}


@pytest.fixture
def built(tmp_path) -> Callable[..., list[Import]]:
    """Imports of a made-up package: `SOUND` with some files added to."""

    def build(**added: str) -> list[Import]:
        for name, text in SOUND.items():
            path = tmp_path / "thesislib" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n{added.pop(name, '')}", encoding="utf-8")
        assert not added
        return imports_of(tmp_path / "thesislib")

    return build


def test_a_sound_house_has_no_fault(built):
    assert {rule.__name__: rule(built()) for rule in RULES} == {
        rule.__name__: [] for rule in RULES
    }


@pytest.mark.parametrize(
    "statement",
    [
        "from thesislib.runs.opening import start",
        "import thesislib.runs.opening",
        "from thesislib.runs import opening",
        "from . import opening",
        "from .opening import start",
        "from ..runs.opening import start",
        "def late():\n    from thesislib.runs import opening",
        "if TYPE_CHECKING:\n    from thesislib.runs.opening import Run",
        "try:\n    from .opening import start\nexcept ImportError:\n    pass",
        'import_module("thesislib.runs.opening")',
        'NAME = "opening"\nimportlib.import_module(f"thesislib.runs.{NAME}")',
        'NAME = "opening"\nimport_module(f".{NAME}", __package__)',
        'import_module(f"thesislib.runs.{start}{end}")',
    ],
)
def test_a_circle_is_found_however_it_is_closed(built, statement):
    (found,) = circles_of_files(built(**{"runs/record.py": statement}))

    assert found == (
        "thesislib.runs.opening -> thesislib.runs.record -> thesislib.runs.opening"
    )


def test_a_circle_through_a_rooms_face_is_one(built):
    """`from thesislib.runs import start` names no file but `runs/__init__.py`."""
    added = {"runs/record.py": "from thesislib.runs import start"}

    (found,) = circles_of_files(built(**added))

    assert found.startswith("thesislib.runs -> thesislib.runs.opening -> ")


def test_rooms_may_stand_in_a_circle_though_no_files_do(built):
    added = {
        "nn/resnet.py": "from thesislib.runs import record",
        "runs/opening.py": "import thesislib.nn.resnet",
    }
    faults = built(**added)

    assert circles_of_files(faults) == []
    assert circles_of_rooms(faults) == ["nn -> runs -> nn"]


@pytest.mark.parametrize(
    ("rule", "name", "statement", "said"),
    [
        (
            upwards,
            "nn/resnet.py",
            "def late():\n    from thesislib.detectors import padim",
            "thesislib.nn.resnet (line 3) imports thesislib.detectors.padim",
        ),
        (
            upwards,
            "errors.py",
            "from thesislib.nn import resnet",
            "thesislib.errors (line 2) imports thesislib.nn.resnet",
        ),
        (
            upwards,
            "runs/record.py",
            "from thesislib import __version__",
            "thesislib.runs.record (line 3) imports thesislib",
        ),
        (
            upwards,
            "report/text.py",
            "from ..chapters.ch05_pmsacl import settings",
            "thesislib.report.text (line 2) imports "
            "thesislib.chapters.ch05_pmsacl.settings",
        ),
        (
            study_of_chapters,
            "study/sections.py",
            "if TYPE_CHECKING:\n    from thesislib.chapters.ch06_igd import settings",
            "thesislib.study.sections (line 4) imports "
            "thesislib.chapters.ch06_igd.settings",
        ),
        (
            between_chapters,
            "chapters/ch06_igd/settings.py",
            "from ..ch05_pmsacl.settings import SIMCLR",
            "thesislib.chapters.ch06_igd.settings (line 2) imports "
            "thesislib.chapters.ch05_pmsacl.settings",
        ),
        (
            between_chapters,
            "chapters/ch05_pmsacl/__init__.py",
            "import thesislib.chapters.ch06_igd",
            "thesislib.chapters.ch05_pmsacl (line 2) imports "
            "thesislib.chapters.ch06_igd",
        ),
        (
            between_methods,
            "pretrain/pmsacl.py",
            "from thesislib.detectors.igd import fit",
            "thesislib.pretrain.pmsacl (line 2) imports thesislib.detectors.igd",
        ),
        (
            between_methods,
            "detectors/igd.py",
            "from thesislib.report import text",
            "thesislib.detectors.igd (line 2) imports thesislib.report.text",
        ),
    ],
)
def test_a_broken_rule_is_said_with_its_place(built, rule, name, statement, said):
    (found,) = rule(built(**{name: statement}))

    assert found.startswith(f"{said}: ")


def test_an_import_that_cannot_be_read_is_refused(built):
    with pytest.raises(ValueError, match="cannot be read"):
        built(**{"runs/record.py": "import_module(name)"})
