import math

import pytest
import torch
from reproduce.data.text import Text
from reproduce.language import bigram_loss, mean_loss, next_word_loss, shuffled_windows, unigram_loss, windows
from reproduce.lstm import StackedLSTM
from reproduce.transformer import Transformer, last_hidden
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


def test_the_mean_loss_is_that_of_all_windows_whatever_the_batches(net):
    found = windows(torch.arange(500) % 7, 4)  # 124 windows: two full batches and a part
    assert mean_loss(net, found) == pytest.approx(float(next_word_loss(net, found).detach()), rel=1e-5)


def test_a_model_that_knows_nothing_loses_the_logarithm_of_the_number_of_words():
    class Uniform(torch.nn.Module):
        def forward(self, words):
            return torch.zeros(*words.shape, 7)

    assert mean_loss(Uniform(), windows(torch.arange(50) % 7, 4)) == pytest.approx(math.log(7), rel=1e-6)


def test_the_loss_by_word_frequencies():
    train = torch.tensor([0] * 29 + [1] * 69)  # with one more each: 0.3 and 0.7
    text = Text("two words", train, torch.tensor([0, 1]), ("a", "b"))
    assert unigram_loss(text) == pytest.approx(-math.log(0.3 * 0.7) / 2, rel=1e-12)


def test_a_word_that_training_has_not_seen_has_a_finite_loss():
    text = Text("two words", torch.zeros(10, dtype=torch.int64), torch.tensor([1]), ("a", "b"))
    assert unigram_loss(text) == pytest.approx(math.log(12), rel=1e-12)


def test_pairs_of_words_tell_what_a_cycle_holds():
    stream = torch.arange(7_000) % 7
    text = Text("cycle", stream, stream[:70], tuple("abcdefg"))
    assert unigram_loss(text) == pytest.approx(math.log(7), rel=1e-3)
    # Each word was seen 1,000 times (the last 999) before its only successor, smoothed by at least 10 counts of 1/7.
    assert bigram_loss(text) == pytest.approx(-math.log((1000 + 10 / 7) / 1010), rel=1e-2)


def test_pairs_of_words_tell_nothing_where_there_is_nothing_to_tell():
    stream = torch.randint(7, (70_000,), generator=torch.Generator().manual_seed(0))
    text = Text("noise", stream[:35_000], stream[35_000:], tuple("abcdefg"))
    assert bigram_loss(text) == pytest.approx(unigram_loss(text), rel=1e-2)


def test_the_transformer_looks_back_alone_and_its_logits_are_an_image_of_its_last_hidden_state():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Transformer(width=16, n_layers=1, context=8).build(7).eval()
    words = torch.tensor([[1, 2, 3, 4, 5, 6]])
    others = words.clone()
    others[0, 3] = 0
    with torch.no_grad():
        logits, hidden = net(words).logits, last_hidden(net, words)
        assert torch.allclose(logits[:, :3], net(others).logits[:, :3], atol=1e-6)
        assert not torch.allclose(logits[:, 3:], net(others).logits[:, 3:], atol=1e-3)
        assert torch.allclose(logits, hidden @ net.get_output_embeddings().weight.T, atol=1e-5)
    assert float(next_word_loss(net, windows(torch.arange(50) % 7, 4)).detach()) == pytest.approx(math.log(7), rel=0.05)
