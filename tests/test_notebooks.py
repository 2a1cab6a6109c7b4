"""Chapters as they are tracked: valid, without outputs, one parameters cell."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

CHAPTERS = sorted((Path(__file__).resolve().parents[1] / "chapters").glob("*.ipynb"))
LINE = re.compile(r"^[a-z_]+ = .+?  # \S.*$")


@pytest.fixture(params=CHAPTERS, ids=lambda path: path.stem)
def chapter(request):
    """A chapter as it is on disk: nbformat must not mend it while reading."""
    return nbformat.read(request.param, as_version=nbformat.NO_CONVERT)


def code(chapter):
    return [cell for cell in chapter.cells if cell.cell_type == "code"]


def tagged(chapter, tag):
    return [cell for cell in chapter.cells if tag in cell.metadata.get("tags", [])]


def test_chapter_5_is_there():
    assert "05_pmsacl" in [path.stem for path in CHAPTERS]


def test_it_is_valid_and_new_enough_for_cell_ids(chapter):
    nbformat.validate(chapter)
    assert (chapter.nbformat, chapter.nbformat_minor) >= (4, 5)


def test_it_carries_no_outputs(chapter):
    for cell in code(chapter):
        assert not cell.outputs, cell.id
        assert cell.execution_count is None, cell.id


def test_metadata_names_the_kernel_and_nothing_else(chapter):
    assert set(chapter.metadata) == {"kernelspec", "language_info"}
    assert chapter.metadata.kernelspec.name == "python3"
    assert chapter.metadata.language_info.name == "python"  # papermill asks for it
    for cell in chapter.cells:
        assert not {"papermill", "execution"} & set(cell.metadata), cell.id


def test_ids_are_unique_and_say_what_a_cell_is(chapter):
    ids = [cell.id for cell in chapter.cells]
    assert len(ids) == len(set(ids))
    for name in ids:
        assert re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name), name
        assert not re.fullmatch(r"[0-9a-f]{8}", name), f"{name}: made by a program"


def test_numbered_formulas_are_of_one_line(chapter):
    """Sphinx wraps one of several lines into a `split`, where MathJax allows no tag."""
    words = "\n".join(c.source for c in chapter.cells if c.cell_type == "markdown")
    formulas = re.findall(r"\$\$(.+?)\$\$", words, re.S)

    assert formulas
    for formula in formulas:
        assert not ("\\\\" in formula and "\\tag" in formula), formula


def test_one_parameters_cell_comes_first_and_holds_annotated_literals(chapter):
    (cell,) = tagged(chapter, "parameters")
    assert cell is code(chapter)[0]
    assert not tagged(chapter, "injected-parameters")
    for node in ast.parse(cell.source).body:
        ast.literal_eval(node.value)
    for line in cell.source.splitlines():
        assert LINE.match(line), f"no 'name = literal  # meaning': {line}"


def test_the_first_cell_holds_the_only_title(chapter):
    titles = [
        (index, line)
        for index, cell in enumerate(chapter.cells)
        if cell.cell_type == "markdown"
        for line in re.sub(r"```.*?```", "", cell.source, flags=re.S).splitlines()
        if line.startswith("# ")
    ]
    assert [index for index, _ in titles] == [0]


def test_pictures_in_prose_come_with_the_page(chapter):
    """The book moves chapters to another folder, where relative paths break."""
    for cell in chapter.cells:
        if cell.cell_type == "markdown":
            for target in re.findall(r"!\[[^]]*\]\(([^)]*)\)", cell.source):
                assert target.startswith(("data:", "attachment:")), target


def test_the_file_ends_with_a_newline_and_keeps_letters_readable(chapter, request):
    text = request.node.callspec.params["chapter"].read_text(encoding="utf-8")
    assert text.endswith("}\n")
    assert not re.search(r"\\u[0-9a-f]{4}", text)
