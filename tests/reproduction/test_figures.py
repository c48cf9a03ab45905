"""Every figure, with the quick preset: it runs on bundled data, and its statistics are finite and in range."""

import math

import pytest
from reproduce.claims import FAILS, HOLDS, OPEN
from reproduce.run import load, names, run, title
from reproduce.study import PRESETS, Study


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("reproduce_cache")  # nets that figures share are trained once for all


@pytest.mark.parametrize("name", names())
def test_a_figure_is_drawn_and_judged(name, tmp_path, cache):
    record = run(name, "quick", tmp_path, cache=cache).plain
    assert record["claims"]
    for claim in record["claims"]:
        low, high = (-math.inf if claim["limits"][0] is None else claim["limits"][0]), claim["limits"][1]
        assert all(math.isfinite(value) and low - 1e-9 <= value for value in claim["values"])
        assert high is None or all(value <= high + 1e-9 for value in claim["values"])
        assert claim["verdict"] in (HOLDS, FAILS, OPEN)
    assert record["figures"]
    for file in record["figures"]:
        assert 5000 < (tmp_path / file).stat().st_size < 250_000


@pytest.mark.parametrize("name", ["layer_matching", "learning_dynamics"])
def test_one_seed_is_held_against_another_net_and_not_against_itself(name, tmp_path, cache, monkeypatch):
    seeds, train = set(), Study.train
    monkeypatch.setattr(Study, "train", lambda self, *args: (seeds.add(args[1]["seed"]), train(self, *args))[1])
    assert run(name, "quick", tmp_path, seeds=1, cache=cache).plain["claims"]
    assert seeds == {0, 1}


@pytest.mark.parametrize("name", names())
def test_a_figure_says_what_it_is(name):
    module = load(name)
    assert len(title(name)) < 120
    assert tuple(sorted(module.ITEMS)) == module.ITEMS
    assert {"quick", "cpu", "full"} <= set(module.SETTINGS) <= set(PRESETS)
