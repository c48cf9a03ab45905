"""The tables of rooms and files in docs/architecture.md: each file with the first line of its docstring.

A test holds the page against the code. After a file was added, moved or described anew, this rewrites the tables:

    python -m tests.rooms
"""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "svcca"
PAGE = ROOT / "docs" / "architecture.md"
START, END = "<!-- rooms: written by python -m tests.rooms -->\n", "<!-- end of rooms -->\n"
ORDER = (
    "core",
    "plots",
    "measures",
    "fourier",
    "io",
    "capture",
    "compare",
    "project",
    "compress",
    "freeze",
    "report",
    "integrations",
    "cli",
)


def first_line(path: Path) -> str:
    """Return the first line of a file's docstring, without its full stop."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0].removesuffix(".")


def rows(folder: Path, files: list[Path]) -> str:
    """Return a table of files."""
    lines = [f"| `{path.relative_to(folder).as_posix()}` | {first_line(path)} |\n" for path in files]
    return "".join(["| file | what it holds |\n", "| --- | --- |\n", *lines])


def tables() -> str:
    """Return the tables of all rooms, from the ground up."""
    rooms = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    assert rooms == set(ORDER), f"a room without a place in the order: {rooms ^ set(ORDER)}"
    parts = [rows(SOURCE, sorted(path for path in SOURCE.glob("*.py") if path.name != "__init__.py"))]
    for room in ORDER:
        folder = SOURCE / room
        files = sorted(path for path in folder.rglob("*.py") if path != folder / "__init__.py")
        parts.append(f"\n### {room}/\n\n{first_line(folder / '__init__.py')}.\n\n{rows(folder, files)}")
    return "".join(parts)


def written(page: str) -> str:
    """Return the page with its tables as they should be."""
    before, _, rest = page.partition(START)
    return before + START + "\n" + tables() + "\n" + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
