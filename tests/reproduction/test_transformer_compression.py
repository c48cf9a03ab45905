import pytest
import torch
from reproduce.claims import FAILS, HOLDS
from reproduce.figures.transformer_compression import RATIOS, WAYS, judged, silenced
from reproduce.transformer import Transformer


def planted(losses, by_outputs, by_weights, by_logits):
    lost = dict.fromkeys(WAYS, [0.0] * len(RATIOS)) | {
        way: [value] * len(RATIOS) for way, value in zip(WAYS, (by_outputs, by_weights, by_logits), strict=False)
    }
    return [{"loss": loss, "lost": lost} for loss in losses]


def verdicts(found):
    return [finding.verdict for finding in judged(found, {"words": 4.5, "pairs of words": 3.9})]


def test_a_network_that_has_learned_and_loses_little_bears_all_out():
    assert verdicts(planted([3.6, 3.61, 3.62], 0.001, 0.01, 0.02)) == [HOLDS] * 5


@pytest.mark.parametrize(
    ("losses", "lost", "failing"),
    [
        ([4.6, 4.61, 4.62], (0.001, 0.01, 0.02), [0, 1]),
        ([4.0, 4.01, 4.02], (0.001, 0.01, 0.02), [1]),
        ([3.6, 3.61, 3.62], (0.06, 0.07, 0.02), [2]),
        ([3.6, 3.61, 3.62], (0.001, 0.01, 0.06), [3]),
        ([3.6, 3.61, 3.62], (0.02, 0.01, 0.02), [4]),
    ],
)
def test_each_claim_fails_where_it_is_false(losses, lost, failing):
    assert [i for i, verdict in enumerate(verdicts(planted(losses, *lost))) if verdict == FAILS] == failing


def test_silenced_mlps_add_nothing():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Transformer(width=16, n_layers=2, context=8).build(7).eval()
    quiet = silenced(net)
    x = torch.randn(2, 3, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert all(not layer.mlp(x).any() for layer in quiet.model.layers)
        assert all(layer.mlp(x).any() for layer in net.model.layers)
