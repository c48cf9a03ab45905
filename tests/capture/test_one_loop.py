"""The law of DESIGN: there is one loop over batches in the library; whoever wants rows taps the stream."""

import ast
from pathlib import Path

import pytest

import svcca

SOURCE = Path(svcca.__file__).parent
DATA = {"data", "batches", "loader", "probe", "dataloader", "batches_of"}
"""What holds batches is called one of these, with or without an underscore before it."""


def mentions(node, names):
    """Whether an expression mentions one of these names, as a variable, an attribute or a function."""
    found = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
    found |= {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)}
    return bool({name.lstrip("_") for name in found} & names)


def streamed(tree):
    """Names that `with stream(...) as name` binds: loops over these run over what the stream gives."""
    items = [item for node in ast.walk(tree) if isinstance(node, ast.With) for item in node.items]
    return {
        item.optional_vars.id
        for item in items
        if item.optional_vars is not None and mentions(item.context_expr, {"stream"})
    }


def loops(source):
    """Loops over batches: the module, and the class or function they stand in."""

    def walk(node, place):
        for child in ast.iter_child_nodes(node):
            iterables = [child.iter] if isinstance(child, (ast.For, ast.comprehension)) else []
            if any(mentions(each, names) for each in iterables):
                yield place
            inner = isinstance(child, (ast.FunctionDef, ast.ClassDef)) and not place[1:]
            yield from walk(child, (*place, child.name) if inner else place)

    found = []
    for path in sorted(source.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = DATA - streamed(tree)
        found += walk(tree, (path.relative_to(source).as_posix(),))
    return found


def test_there_is_one_loop_over_batches():
    # What splits, shifts or moves batches is no loop of its own: it stands between the loader and the stream.
    assert [place for place in loops(SOURCE) if place[0] != "capture/batches.py"] == [
        ("capture/stream.py", "_streamed")
    ]


@pytest.mark.parametrize(
    "body",
    [
        "for batch in data:\n        model(batch)",
        "for number, batch in enumerate(track(batches_of(data), 'Batches', None)):\n        model(batch)",
        "for batch in self._probe:\n        model(batch)",
        "return [model(batch) for batch in batches]",
        "with stream([], data, None) as batches:\n        pass\n    for batch in loader:\n        model(batch)",
    ],
)
def test_a_planted_loop_is_found(tmp_path, body):
    (tmp_path / "verb.py").write_text(f"def verb(model, data):\n    {body}\n")
    assert loops(tmp_path) == [("verb.py", "verb")]


def test_a_loop_over_what_the_stream_gives_is_left_alone(tmp_path):
    loop = "for batch in batches:\n            pass"
    (tmp_path / "verb.py").write_text(f"def verb(data):\n    with stream([], data, None) as batches:\n        {loop}\n")
    assert loops(tmp_path) == []
