"""Lines of the package by room, and what each chapter adds beside its methods.

    python benchmarks/lines.py

Lines are counted as `wc -l` does, comments and docstrings included; code lines are what
is left without them. A chapter that is a declaration is a few hundred.
"""

import ast
import io
import tokenize
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "thesislib"
METHODS = ("pretrain", "detectors", "video", "segmentation")
CLAIMS = ("report/claims.py", "report/judges.py", "report/findings.py")
BEFORE = 4_700  # of chapters 5 and 6 outside of their methods, claims included, once


def code_lines(path: Path) -> int:
    """Lines that hold code: no blank ones, comments or docstrings."""
    text = path.read_text(encoding="utf-8")
    documentation: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                documentation |= set(range(first.lineno, first.end_lineno + 1))
    skipped = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT)
    skipped += (tokenize.DEDENT, tokenize.ENDMARKER)
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in skipped:
            code |= set(range(token.start[0], token.end[0] + 1))
    return len(code - documentation)


def rooms() -> dict[str, tuple[int, int]]:
    """Room, or chapter, or the claims -> lines and code lines."""
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).parts
        name = "/".join(parts[:2]) if parts[0] == "chapters" else parts[0]
        name = "claims" if "/".join(parts) in CLAIMS else name
        found[name][0] += len(path.read_text(encoding="utf-8").splitlines())
        found[name][1] += code_lines(path)
    return {name: tuple(both) for name, both in found.items()}


def main() -> None:
    found = rooms()
    print(f"{'room':<28}{'lines':>8}{'code':>8}")
    for name, (lines, code) in sorted(found.items()):
        print(f"{name:<28}{lines:>8,}{code:>8,}")
    shared = ["study", "claims", "chapters/ch05_pmsacl", "chapters/ch06_igd"]
    total = [sum(found[name][i] for name in shared) for i in (0, 1)]
    print(f"\nchapters 5 and 6 outside of their methods: {' + '.join(shared)}")
    print(f"  {total[0]:,} lines, {total[1]:,} of code; {BEFORE:,} lines before")
    for name, (lines, code) in sorted(found.items()):
        if name.startswith("chapters/ch"):
            print(f"{name} adds {lines:,} lines, {code:,} of code")


if __name__ == "__main__":
    main()
