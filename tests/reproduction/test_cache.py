import errno

import pytest
import torch
from reproduce import cache as cache_module
from reproduce.cache import Cache, write
from reproduce.errors import ReproduceError

CONFIG = {"width": 3, "seed": 0}


@pytest.fixture
def said():
    return []


@pytest.fixture
def cache(tmp_path, said):
    return Cache(tmp_path, said.append)


def weights():
    return {"w": torch.arange(6.0).reshape(2, 3).T, "n": torch.tensor(7)}, {"accuracy": 0.5}


def never():
    raise AssertionError("made again")


def test_tensors_are_made_once_and_come_back_equal(cache):
    first, facts, was_there = cache.tensors("net", CONFIG, weights)
    again, facts_again, was_there_again = cache.tensors("net", CONFIG, never)
    assert (was_there, was_there_again) == (False, True)
    assert facts == facts_again == {"accuracy": 0.5}
    assert all(torch.equal(first[key], again[key]) for key in first)


def test_values_are_made_once_and_are_the_same_in_the_run_that_makes_them(cache):
    first, was_there = cache.values("analysis", CONFIG, lambda: {"pair": (1, 2.5)})
    assert cache.values("analysis", CONFIG, never) == (first, True)
    assert (first, was_there) == ({"pair": [1, 2.5]}, False)


@pytest.mark.parametrize("other", [{"width": 4, "seed": 0}, {"width": 3, "seed": 1}, {"width": 3}])
def test_another_configuration_is_another_result(cache, other):
    cache.values("analysis", CONFIG, lambda: 1)
    assert cache.values("analysis", other, lambda: 2) == (2, False)
    assert cache.values("analysis", CONFIG, never) == (1, True)


@pytest.mark.parametrize("kind", ["tensors", "values"])
def test_a_result_of_another_version_is_made_again_and_this_is_said(cache, said, monkeypatch, kind):
    make = weights if kind == "tensors" else lambda: 1
    getattr(cache, kind)("it", CONFIG, make)
    monkeypatch.setattr(cache_module, "VERSION", 99)
    assert getattr(cache, kind)("it", CONFIG, make)[-1] is False
    assert len(said) == 1
    assert "is damaged or from another version; it is computed again" in said[0]


@pytest.mark.parametrize("kind", ["tensors", "values"])
@pytest.mark.parametrize("share", [0, 0.3, 0.95])
def test_a_result_that_was_cut_off_is_made_again_and_this_is_said(cache, said, kind, share):
    make = weights if kind == "tensors" else lambda: {"pair": [1, 2.5]}
    getattr(cache, kind)("it", CONFIG, make)
    (path,) = cache.folder.iterdir()
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert getattr(cache, kind)("it", CONFIG, make)[-1] is False
    assert path.read_bytes() == content
    assert len(said) == 1


@pytest.mark.parametrize("kind", ["tensors", "values"])
def test_an_interruption_leaves_nothing(cache, kind):
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        getattr(cache, kind)("it", CONFIG, interrupted)
    assert list(cache.folder.iterdir()) == []


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("write failed")])
def test_a_full_disk_is_said_and_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "it.json"
    path.write_text("before")

    def fill(temporary):
        temporary.write_text("half")
        raise error

    with pytest.raises(ReproduceError, match=r"write .*it\.json: expected to write the file; .*Free space there"):
        write(path, fill)
    assert path.read_text() == "before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["it.json"]
