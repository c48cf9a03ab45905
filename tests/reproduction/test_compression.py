"""Compression: each verdict on cases where its claim is true and where it is not; parameters are counted right."""

import pytest
import torch
from reproduce.claims import FAILS, HOLDS
from reproduce.data.images import digits
from reproduce.figures import compression
from reproduce.figures.compression import WAYS
from reproduce.heads import Heads
from reproduce.nets import Net
from reproduce.study import Trained


def result(by_share=0.2, **lost):
    curves = {way: [lost.get(way.replace(" ", "_"), 3.0), 4.0] for way in WAYS}
    return {"accuracy": 0.8, "lost": curves, "lost_by_share": dict.fromkeys(WAYS, by_share)}


def verdicts(*results):
    return [finding.verdict for finding in compression.judged(list(results))]


def test_what_loses_least_holds():
    good = [{"logits": 1.0 + noise, "outputs": 0.5, "weights": 2.0, "two_seeds": 9.0} for noise in (0.0, 0.05, 0.1)]
    assert verdicts(*(result(**one) for one in good)) == [HOLDS] * 4


def test_what_loses_more_than_the_alternatives_does_not():
    bad = [{"logits": 5.0 + noise, "outputs": 4.0, "weights": 2.0, "two_seeds": 3.0} for noise in (0.0, 0.05, 0.1)]
    assert verdicts(*(result(by_share=2.0, **one) for one in bad)) == [FAILS] * 4


def test_ways_are_compared_over_all_sizes():
    assert compression.better_by(result(logits=1.0, weights=2.0), "logits", "weights") == pytest.approx(0.5)


@pytest.mark.filterwarnings("ignore::svcca.SvccaWarning")
def test_parameters_are_those_of_the_whole_net():
    made = []
    for seed in range(2):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            made.append(Net(width=4).build((1, 8, 8), 10))
    trained = [Trained({0: net.state_dict()}, lambda: Net(width=4).build((1, 8, 8), 10), {}) for net in made]
    heads = Heads.of(*trained, digits(300, 100), 300, 100)
    found = compression.compressed(lambda: heads, (0.8,))
    assert set(found["lost"]) == set(found["left"]) == set(found["lost_by_share"]) == set(WAYS)
    head = sum(parameter.numel() for parameter in heads.net.parameters())
    linear = sum(heads.net.get_submodule(name).weight.numel() for name in compression.LAYERS)
    bounds = [(heads.n_below + head - share * linear) / (heads.n_below + head) for share in (0.3, 0.2)]
    assert all(bounds[0] < left[0] <= bounds[1] for left in found["left"].values())
