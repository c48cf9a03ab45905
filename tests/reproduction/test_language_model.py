import math

import pytest
import torch
from reproduce.data.text import Text
from reproduce.language_model import (
    StackedLSTM,
    next_word_loss,
    perplexity,
    shuffled_windows,
    unigram_perplexity,
    windows,
)
from torch.nn.functional import one_hot


@pytest.fixture
def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return StackedLSTM(n_words=7, width=5, n_layers=3).eval()


def test_each_layer_is_a_module_with_a_name(net):
    assert [name for name, _ in net.named_children()] == ["embedding", "lstm1", "lstm2", "lstm3", "decoder"]
    assert net(torch.zeros(4, 6, dtype=torch.int64)).shape == (4, 6, 7)


def test_a_word_is_predicted_from_those_before_it_alone(net):
    words = torch.tensor([[1, 2, 3, 4, 5, 6]])
    others = words.clone()
    others[0, 3] = 0
    assert torch.equal(net(words)[:, :3], net(others)[:, :3])
    assert (net(words)[:, 3:] != net(others)[:, 3:]).all()


def test_each_window_starts_from_a_state_of_zero(net):
    words = torch.tensor([[1, 2, 3], [4, 5, 6]])
    assert torch.allclose(net(words)[1], net(words[1:])[0], atol=1e-6)


def test_forget_gates_start_open_and_the_other_gates_without_bias(net):
    _, forget, _, _ = net.lstm1.bias_ih_l0.chunk(4)
    assert (forget == 1).all()
    assert net.lstm1.bias_ih_l0.sum() + net.lstm1.bias_hh_l0.sum() == 5


def test_windows_overlap_by_the_word_that_one_predicts_and_the_next_starts_with():
    assert windows(torch.arange(10), 3).tolist() == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]
    assert windows(torch.arange(10), 3, offset=2).tolist() == [[2, 3, 4, 5], [5, 6, 7, 8]]


def test_an_epoch_has_always_as_many_batches_of_one_size_in_another_order():
    cpu = torch.device("cpu")
    epochs = [shuffled_windows(torch.arange(104), 5, 4, torch.Generator().manual_seed(seed), cpu) for seed in range(30)]
    assert {tuple(len(batch) for batch in epoch) for epoch in epochs} == {(4,) * 4}
    assert len({int(epoch[0][0, 0]) % 5 for epoch in epochs}) == 5  # every offset comes up
    firsts = torch.cat(epochs[0])[:, 0]
    assert len(set(firsts.tolist())) == 16
    assert firsts.sort().values.tolist() != firsts.tolist()


def test_the_loss_is_that_of_the_next_word():
    class Successor(torch.nn.Module):
        def forward(self, words):
            return 50.0 * one_hot((words + 1) % 7, 7)

    counting = windows(torch.arange(21) % 7, 4)
    assert next_word_loss(Successor(), counting) < 1e-6
    assert next_word_loss(Successor(), counting.flip(1)) > 10


def test_perplexity_is_the_exponential_of_the_mean_loss_whatever_the_batches(net):
    found = windows(torch.arange(500) % 7, 4)  # 124 windows: two full batches and a part
    assert perplexity(net, found) == pytest.approx(math.exp(float(next_word_loss(net, found).detach())), rel=1e-5)


def test_a_model_that_knows_nothing_has_the_perplexity_of_the_number_of_words():
    class Uniform(torch.nn.Module):
        def forward(self, words):
            return torch.zeros(*words.shape, 7)

    assert perplexity(Uniform(), windows(torch.arange(50) % 7, 4)) == pytest.approx(7, rel=1e-6)


def test_the_perplexity_of_word_frequencies():
    train = torch.tensor([0] * 29 + [1] * 69)  # with one more each: 0.3 and 0.7
    text = Text("two words", train, torch.tensor([0, 1]), ("a", "b"))
    assert unigram_perplexity(text) == pytest.approx(1 / math.sqrt(0.3 * 0.7), rel=1e-12)


def test_a_word_that_training_has_not_seen_has_a_finite_perplexity():
    text = Text("two words", torch.zeros(10, dtype=torch.int64), torch.tensor([1]), ("a", "b"))
    assert unigram_perplexity(text) == pytest.approx(12, rel=1e-12)
