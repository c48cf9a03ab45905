"""The pages say what the code does: their examples run, their names and links exist, and no public name is left out."""

import doctest
import importlib
import re
import types
from pathlib import Path

import numpy as np
import pytest

import reference
import rooms
import svcca
from svcca.capture.rules import RULES

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MEASURES_PAGE = ROOT / "docs" / "measures.md"

page_by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def fenced(text: str, language: str = "python") -> list[tuple[int, str]]:
    """Line number and content of each fenced block of a language."""
    pattern = rf"^```{language}\n(.*?)^```$"
    found = re.finditer(pattern, text, flags=re.DOTALL | re.MULTILINE)
    return [(text[: match.start(1)].count("\n"), match[1]) for match in found]


def prose(text: str) -> str:
    """A page without its code: fenced and indented blocks, code spans."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^ {4}.*$", "", text, flags=re.MULTILINE)
    return re.sub(r"`[^`\n]*`", "", text)


def code(text: str) -> str:
    """The code of a page: fenced and indented blocks, code spans."""
    blocks = re.findall(r"^```.*?^```$", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    blocks += re.findall(r"^ {4}.*$", text, flags=re.MULTILINE)
    return "\n".join([*blocks, *re.findall(r"`[^`\n]*`", text)])


def table(text: str, *header: str) -> list[list[str]]:
    """Cells of the rows of the one table whose header begins with these columns."""
    lines = text.splitlines()
    (start,) = (i for i, line in enumerate(lines) if line.startswith("| " + " | ".join(header) + " |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def anchors(text: str) -> set[str]:
    """What a link can point to within a page: its headings, as GitHub writes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


CALLABLE = (type, types.FunctionType)
ROOMS = ("core", "measures", "fourier", "compare", "project", "compress", "freeze")


def has(name: str) -> bool:
    """Whether a name exists: in `svcca` or a room's `__all__` (`Class.field` included), or below `room.module`."""
    parts = name.split(".")
    if parts[0] in ROOMS:
        length = 2 if len(parts) > 1 else 1
        owner, parts = importlib.import_module(".".join(["svcca", *parts[:length]])), parts[length:]
    else:
        rooms = [svcca, *(importlib.import_module(f"svcca.{room}") for room in ROOMS)]
        owner = next((room for room in rooms if parts[0] in room.__all__), svcca)
    for part in parts:
        if part in getattr(owner, "__dataclass_fields__", {}):
            return part == parts[-1]  # fields without a default are no attributes of the class
        if not hasattr(owner, part):
            return False
        owner = getattr(owner, part)
    return True


@page_by_page
def test_every_python_block_runs_if_it_is_a_session_and_compiles_otherwise(page: Path) -> None:
    """A block that starts with `>>>` is a session; those of a page run in order and share their names."""
    session: dict[str, object] = {}
    failures: list[str] = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.REPORT_NDIFF)
    for line, block in fenced(page.read_text(encoding="utf-8")):
        if not block.startswith(">>>"):
            compile(block, f"{page.name}:{line}", "exec")
            continue
        test = doctest.DocTestParser().get_doctest(block, session, page.name, str(page), line)
        runner.run(test, out=failures.append, clear_globs=False)
        session = test.globs
    assert not failures, "".join(failures)


def test_a_wrong_output_in_a_block_would_be_seen() -> None:
    (block,) = fenced("text\n```python\n>>> 1 + 1\n3\n\n```\n")
    test = doctest.DocTestParser().get_doctest(block[1], {}, "page", None, block[0])
    assert doctest.DocTestRunner(verbose=False).run(test, out=lambda _: None).failed == 1


def test_every_symbol_of_the_symbol_table_exists() -> None:
    rows = table(MEASURES_PAGE.read_text(encoding="utf-8"), "symbol", "meaning", "code")
    listed = [name for row in rows for name in names(row[2])]
    assert len(listed) > 20
    assert [name for name in listed if not has(name)] == []
    assert not has("Coherence.matrices")
    assert not has("measures.spectra.cosine")


def test_the_table_of_measures_lists_each_once_with_its_symmetry() -> None:
    rows = table(MEASURES_PAGE.read_text(encoding="utf-8"), "name", "call", "formula", "symmetric")
    listed = [(names(row[0])[0], row[3]) for row in rows]
    known = [(name, "yes" if measure.symmetric else "no") for name, measure in svcca.MEASURES.items()]
    assert sorted(listed) == sorted(known)


def test_the_table_of_rules_lists_each_once() -> None:
    rows = table((ROOT / "docs" / "guide.md").read_text(encoding="utf-8"), "rule", "a sample is", "a feature is")
    assert sorted(names(row[0])[0] for row in rows) == sorted(RULES)


def test_the_table_of_ranges_and_levels_covers_every_measure() -> None:
    rows = table(MEASURES_PAGE.read_text(encoding="utf-8"), "name", "range", "unchanged by")
    patterns = [pattern for row in rows for pattern in names(row[0])]
    covered = [name for name in svcca.MEASURES for p in patterns if re.fullmatch(p.replace("*", ".*"), name)]
    # A measure with a test of its own may say its range in its one row of the other table.
    assert sorted(covered) == sorted(name for name in svcca.MEASURES if name in reference.MEASURES)


def test_every_call_in_the_table_of_measures_gives_that_measure() -> None:
    rows = table(MEASURES_PAGE.read_text(encoding="utf-8"), "name", "call", "formula", "symmetric")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(400, 4)), rng.normal(size=(400, 3))
    scope = {name: getattr(svcca.measures, name) for name in svcca.measures.__all__} | {"svcca": svcca, "x": x, "y": y}
    for row in rows:
        (name,), (call,) = names(row[0]), names(row[1])
        result = eval(call, scope)
        result = result[name] if isinstance(result, dict) else result
        assert result.measure == name


def test_every_public_name_has_an_entry_in_the_docs() -> None:
    text = "\n".join(code(page.read_text(encoding="utf-8")) for page in PAGES)
    # As `name`, `Name.field`, svcca.name or name(...): a word of a comment is no entry.
    entry = r"`{0}\b|\bsvcca\.(?:\w+\.)?{0}\b|(?<![\w.]){0}\("
    public = {name: getattr(svcca, name) for name in svcca.__all__}
    for room in ("measures", "fourier", "compare", "project", "compress", "freeze"):
        module = importlib.import_module(f"svcca.{room}")
        # Aliases of types, such as `Ranks`, are described where an argument takes them.
        public |= {name: value for name in module.__all__ if isinstance(value := getattr(module, name), CALLABLE)}
    assert len(public) > 90
    assert [name for name in public if not re.search(entry.format(name), text)] == []


@page_by_page
def test_every_relative_link_and_image_leads_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(text)) + re.findall(r"(?:src|href)=\"([^\"]+)\"", prose(text))
    for target in targets:
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file.read_text(encoding="utf-8")), target


def test_the_architecture_names_every_file_with_what_it_holds() -> None:
    page = rooms.PAGE.read_text(encoding="utf-8")
    assert page == rooms.written(page), "python -m tests.rooms rewrites it"


def test_a_file_that_the_architecture_does_not_name_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    page = rooms.PAGE.read_text(encoding="utf-8")
    monkeypatch.setattr(rooms, "first_line", lambda path: f"another line about {path.name}")
    assert page != rooms.written(page)
