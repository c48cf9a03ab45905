import warnings

import pytest
import torch
from reproduce import study as study_module
from reproduce.cache import Cache
from reproduce.data.images import digits
from reproduce.nets import Net
from reproduce.study import Settings, Study, accuracy, heard, with_labels
from reproduce.training import Training
from torch import nn

from svcca import SvccaWarning


@pytest.fixture
def begin(tmp_path):
    return lambda: Study("it", "quick", Settings(), None, Cache(tmp_path, lambda line: None), lambda line: None)


def test_the_time_of_an_analysis_counts_where_its_result_is_taken_from_the_cache(begin, monkeypatch):
    clock = iter([10.0, 17.5])
    monkeypatch.setattr(study_module, "perf_counter", lambda: next(clock))
    first = begin()
    assert first.analysis("part", {}, lambda: 1) == 1
    assert first.seconds_before == 0.0  # it counts by itself in the run that computes it
    again = begin()
    assert again.analysis("part", {}, lambda: 2) == 1
    assert again.seconds_before == 7.5


def test_the_time_of_training_counts_where_the_net_is_taken_from_the_cache(begin):
    net, training, images = Net(width=4), Training(epochs=1, batch=64), digits(128, 64)
    seconds = begin().train_net(net, training, images, 0).facts["seconds"]
    again = begin()
    again.train_net(net, training, images, 0)
    assert again.seconds_before == seconds > 0


def test_what_svcca_warns_of_in_an_analysis_is_kept_with_it(begin):
    def warned():
        for _ in range(2):
            warnings.warn("few samples", SvccaWarning, stacklevel=1)
        return 1

    for _ in range(2):
        study = begin()
        study.analysis("part", {}, warned)
        assert study.warnings == ["few samples"]


def test_other_warnings_are_not_swallowed():
    with pytest.warns(RuntimeWarning, match="divide by zero"), heard() as said:
        warnings.warn("divide by zero", RuntimeWarning, stacklevel=1)
    assert said == []


def test_a_trained_net_comes_back_as_it_was_at_each_step(begin):
    training = Training(epochs=2, batch=64, snapshots=2)
    trained = begin().train_net(Net(width=4), training, digits(128, 64), 0)
    assert trained.steps == [0, 2, 4]
    net = trained.net()
    assert not net.training
    assert torch.equal(net.conv1.weight, trained.states[4]["conv1.weight"])
    assert torch.equal(trained.net(0).conv1.weight, trained.states[0]["conv1.weight"])
    images = digits(128, 64)
    assert trained.accuracy == accuracy(net, images.test, images.test_labels)


def test_nets_of_other_labels_are_others(begin):
    images = digits(128, 64)
    shuffled = with_labels(images, images.train_labels.flip(0), "shuffled")
    nets = [begin().train_net(Net(width=4), Training(epochs=1), data, 0).net() for data in (images, shuffled)]
    assert not torch.equal(nets[0].out.weight, nets[1].out.weight)


def test_the_first_weights_do_not_depend_on_what_ran_before(begin):
    training, images = Training(epochs=1, snapshots=1), digits(64, 64)
    torch.manual_seed(1)
    first = begin().train_net(Net(width=4), training, images, 0).states[0]
    torch.manual_seed(2)
    again = begin().train_net(Net(width=4), Training(epochs=1, snapshots=1, learning_rate=0.1), images, 0).states[0]
    assert torch.equal(first["conv1.weight"], again["conv1.weight"])


def test_a_last_batch_of_one_image_is_left_out(begin):
    trained = begin().train_net(Net(width=4), Training(epochs=1, batch=32), digits(65, 64), 0)
    assert trained.steps == [2]


def test_accuracy_is_the_share_of_right_answers():
    images = torch.eye(3).repeat(400, 1)
    labels = torch.arange(3).repeat(400)
    labels[:300] = 0
    assert accuracy(nn.Identity(), images, labels) == pytest.approx(1000 / 1200)
