import json
from pathlib import Path

import pytest
from reproduce import gallery
from reproduce.claims import FAILS, HOLDS, OPEN, judge
from reproduce.run import names

FOLDER = Path(gallery.DOCS) / "reproduction"


def planted(folder, name, items, findings):
    record = {"name": name, "title": f"The title of {name}", "items": items, "preset": "cpu", "seconds": 90.0}
    record |= {"claims": [finding.to_dict() for finding in findings], "figures": [f"{name}.png"], "settings": {}}
    record |= {"hardware": {"processor": "a processor"}, "warnings": []}
    (folder / f"{name}.json").write_text(json.dumps(record))
    (folder / "remarks").mkdir(exist_ok=True)
    (folder / "remarks" / f"{name}.md").write_text(f"A remark on {name}.\n")


def test_the_page_counts_verdicts_and_shows_each_claim(tmp_path):
    true = judge("This is so.", "a share", [0.8, 0.81, 0.82], above=0.5)
    false = judge("That is so.", "a distance", [0.8, 0.81, 0.82], below=0.5)
    unsure = judge("Who knows.", "a guess", [0.1, 0.9], above=0.5)
    exact = judge("By algebra.", "an error", 1.5e-13, below=1e-12, exact=True)
    planted(tmp_path, "later", [7], [unsure])
    planted(tmp_path, "first", [2, 3], [true, false, exact])
    page = gallery.page(tmp_path)
    assert "2 claims hold, 1 do not hold, 1 are not decided." in page
    assert page.index("## first") < page.index("## later")
    assert "| This is so. *A share.* | 0.81 [0.785, 0.835] | ≥ 0.5 | **holds** |" in page
    assert f"| That is so. *A distance.* | 0.81 [0.785, 0.835] | ≤ 0.5 | {FAILS} |" in page
    assert "| By algebra. *An error.* | 1.5e-13 | ≤ 1e-12 | **holds** |" in page
    assert "| [The title of first](#first) | 2 | 1 | 0 | 1.5 |" in page
    assert "A remark on later." in page
    assert "](reproduction/first.png)" in page


def test_a_record_without_a_remark_is_an_error(tmp_path):
    planted(tmp_path, "one", [1], [judge("It is so.", "a number", [1.0, 1.1], above=0)])
    (tmp_path / "remarks" / "one.md").unlink()
    with pytest.raises(FileNotFoundError, match=r"one\.md"):
        gallery.page(tmp_path)


def test_the_committed_page_is_what_the_committed_records_give():
    assert (Path(gallery.DOCS) / "reproduction.md").read_text(encoding="utf-8") == gallery.page(FOLDER)


@pytest.mark.parametrize("name", names())
def test_every_figure_has_a_record_of_a_real_run_with_pictures_that_are_small(name):
    record = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    assert record["preset"] in ("cpu", "full")
    assert record["claims"]
    for claim in record["claims"]:
        assert claim["verdict"] in (HOLDS, FAILS, OPEN)
        assert claim["exact"] or len(claim["values"]) >= 3
    assert all((FOLDER / file).stat().st_size < 250_000 for file in record["figures"])


def test_the_gallery_is_small():
    assert sum(path.stat().st_size for path in FOLDER.glob("*.png")) < 5_000_000
