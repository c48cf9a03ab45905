"""Heads: what is run from a layer on gives what the whole net gives; two figures share their curves."""

from pathlib import Path

import pytest
import torch
from reproduce import heads as heads_module
from reproduce.cache import Cache
from reproduce.data.images import digits
from reproduce.heads import LOGITS, PLS, TWO_SEEDS, Heads, counts, cut, projected, tenth
from reproduce.nets import Net
from reproduce.study import Settings, Study, Trained, accuracy


@pytest.fixture(scope="module")
def images():
    return digits(300, 100)


@pytest.fixture(scope="module")
def nets():
    made = []
    for seed in range(2):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            net = Net(width=4).build((1, 8, 8), 10)
        made.append(Trained({0: net.state_dict()}, lambda: Net(width=4).build((1, 8, 8), 10), {}))
    return made


@pytest.fixture(scope="module")
def heads(nets, images):
    return Heads.of(*nets, images, 300, 100)


def study(name, folder):
    return Study(name, "quick", Settings(), None, Cache(Path(folder), lambda line: None), lambda line: None)


def test_a_cut_net_is_the_whole_net(nets, images):
    net = nets[0].net()
    body, head = cut(net)
    with torch.no_grad():
        assert torch.equal(head(body(images.test)), net(images.test))


@pytest.mark.parametrize("layer", ["flat", "fc1", "bn3", "fc2"])
def test_accuracy_from_a_layer_is_that_of_the_net(heads, nets, images, layer):
    whole = accuracy(nets[0].net(), images.test, images.test_labels)
    assert heads.accuracy(heads.net) == pytest.approx(whole)
    assert heads.accuracy_from(layer)(heads.net) == pytest.approx(whole)


def test_directions_of_two_seeds_see_each_nets_own_images(heads):
    found = heads.directions("fc2", TWO_SEEDS)
    theirs = Heads(heads.other, heads.net, [pair[::-1] for pair in heads.seen], heads.inputs, heads.labels, 0)
    assert found.correlations == pytest.approx(theirs.directions("fc2", TWO_SEEDS).correlations)
    assert found.correlations.max() < 1 - 1e-6  # a net against itself would give ones


def test_directions_are_of_the_kind_asked_for(heads):
    assert [heads.directions("fc2", kind).kind for kind in (TWO_SEEDS, LOGITS, PLS)] == [TWO_SEEDS, LOGITS, PLS]


@pytest.mark.parametrize("width", [16, 32, 128, 512])
def test_numbers_of_directions_rise_to_the_width_with_a_tenth_of_it(width):
    ks = counts(width, 4)
    assert ks == sorted(set(ks))
    assert (ks[0], ks[-1]) == (1, width)
    assert tenth(width) in ks


def test_two_figures_share_a_curve(heads, tmp_path):
    calls = []

    def given():
        calls.append(1)
        return heads

    found = [projected(study(name, tmp_path), {}, given, "fc2", 1) for name in ("projection", "ablation")]
    assert found[0] == found[1]
    assert len(calls) == 1
    assert found[0]["curves"][LOGITS][-1] == pytest.approx(found[0]["unprojected"])


def test_each_net_is_taken_with_the_next(monkeypatch, nets, images):
    asked = []
    monkeypatch.setattr(heads_module.Heads, "of", lambda one, other, *rest: (one, other))

    class Shared:
        def images(self, study):
            return images

        def train_conv(self, study, images, seed):
            asked.append(seed)
            return seed

    monkeypatch.setattr(heads_module, "plain", lambda shared: {})
    settings = heads_module.HeadSettings(seeds=2, nets=Shared(), n_seen=10, n_evaluated=10)
    one = Study("x", "quick", settings, None, None, lambda line: None)
    assert [make() for _, make in heads_module.pairs(one)] == [(0, 1), (1, 2)]
    assert asked == [0, 1, 2]
