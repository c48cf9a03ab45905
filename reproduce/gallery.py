"""Write docs/reproduction.md from the records and remarks in docs/reproduction: python -m reproduce.gallery."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jinja2
import typer

from reproduce.cache import write
from reproduce.claims import FAILS, HOLDS, OPEN

DOCS = Path(__file__).parents[1] / "docs"


def page(folder: Path) -> str:
    """Return the text of the page.

    Args:
        folder: The folder with NAME.json for each figure, and its remark in remarks/NAME.md.
    """
    records = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    for record in records:
        record["remark"] = (folder / "remarks" / f"{record['name']}.md").read_text(encoding="utf-8").strip()
    records.sort(key=lambda record: (record["items"] or [99], record["name"]))
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)
    environment.filters |= {"count_verdict": _count, "value": _value, "plain": _plain, "capital": _capital}
    template = environment.from_string((Path(__file__).parent / "gallery.md.j2").read_text(encoding="utf-8"))
    totals = {verdict: sum(_count(record, verdict) for record in records) for verdict in (HOLDS, FAILS, OPEN)}
    return template.render(
        records=records,
        preset=" and ".join(sorted({record["preset"] for record in records})),
        processor=" and ".join(sorted({record["hardware"]["processor"] for record in records})),
        n_holds=totals[HOLDS],
        n_fails=totals[FAILS],
        n_open=totals[OPEN],
    )


def _count(record: dict[str, Any], verdict: str) -> int:
    return sum(claim["verdict"] == verdict for claim in record["claims"])


def _value(claim: dict[str, Any]) -> str:
    low, high = claim["interval"]
    if claim["exact"] or low is None:
        return _plain(claim["mean"])
    return f"{_plain(claim['mean'])} [{_plain(low)}, {_plain(high)}]"


def _plain(number: float) -> str:
    """Return three significant digits, without an exponent where that is short."""
    return f"{number:.3g}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".")


def main(docs: Path = DOCS) -> None:
    """Write the page."""
    write(docs / "reproduction.md", lambda path: path.write_text(page(docs / "reproduction"), encoding="utf-8"))


if __name__ == "__main__":
    typer.run(main)
