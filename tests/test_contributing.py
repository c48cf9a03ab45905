"""What a contributor or a citing reader is told exists, and is in the form that others' tools read."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import public_names

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def named_paths(text):
    """Files and folders that a page names in code or links to, but for NAME, which stands for any."""
    spans = re.findall(r"`([^`\s]+)`", text) + re.findall(r"\]\(([^)#\s]+)\)", text)
    return [span for span in spans if re.fullmatch(r"[\w./-]+(/|\.(py|md|txt|toml))", span) and "NAME" not in span]


def test_every_file_that_the_guide_names_exists():
    paths = named_paths(GUIDE)
    assert len(paths) > 15
    assert [path for path in paths if not any((base / path).exists() for base in (ROOT, ROOT / "src"))] == []


def test_every_marker_is_explained():
    listed = re.findall(r"^\| `(\w+)` \|", GUIDE, re.MULTILINE)
    assert listed == [marker.partition(":")[0] for marker in PROJECT["tool"]["pytest"]["ini_options"]["markers"]]


@pytest.mark.parametrize("target", re.findall(r"^make (\w+)", GUIDE, re.MULTILINE))
def test_every_make_target_that_the_guide_names_exists(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("name", ["MEASURES", "RULES", "AGAINST", "class Compressor", "class Observation"])
def test_what_the_guide_says_to_extend_is_in_the_file_it_names(name):
    word = name.rpartition(" ")[2]
    ((_, path),) = re.findall(rf"`{word}`(.*?)`(src/[\w/]+\.py)`", GUIDE.replace("\n", " "))[:1]
    assert re.search(rf"^{name}\b", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)


def test_the_command_that_rewrites_the_public_names_is_the_one_that_does():
    assert "python -m tests.public_names" in GUIDE
    assert public_names.__doc__ is not None
    assert "python -m tests.public_names" in public_names.__doc__


def test_python_blocks_of_the_guide_compile():
    for block in re.findall(r"^```python\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE):
        compile(block, "CONTRIBUTING.md", "exec")


def test_the_citation_is_of_this_version_and_names_both_papers():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)  # those that the format requires
    assert (citation["version"], citation["license"]) == (PROJECT["project"]["version"], PROJECT["project"]["license"])
    assert citation["repository-code"] == PROJECT["project"]["urls"]["Homepage"]
    papers = {paper["url"].rpartition("/")[2]: paper["year"] for paper in citation["references"]}
    assert papers == {"1706.05806": 2017, "1806.05759": 2018}


def test_there_is_a_form_for_each_kind_of_issue():
    assert [form.stem for form in FORMS] == ["crash", "wish", "wrong_number"]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.stem)
def test_an_issue_form_has_what_the_form_schema_requires(form):
    plain = yaml.safe_load(form.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= set(plain)
    fields = plain["body"]
    assert all(field["type"] in ("textarea", "input") and field["attributes"]["label"] for field in fields)
    assert len({field["id"] for field in fields}) == len(fields)
    required = {field["id"] for field in fields if field.get("validations", {}).get("required")}
    assert required >= ({"question"} if form.stem == "wish" else {"code", "expected", "versions"})
