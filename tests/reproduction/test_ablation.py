"""The tutorial: each verdict on planted cases, and neurons that are taken out are taken out, and come back."""

import numpy as np
import pytest
import torch
from reproduce.claims import FAILS, HOLDS
from reproduce.figures import ablation
from reproduce.figures.ablation import METHODS
from reproduce.heads import LOGITS, PLS


def curves(ahead):
    return {"curves": {kind: [0.5, 0.7 + ahead * (kind == PLS)] for kind in METHODS}}


def orders(spared):
    least, most = [0.6 + spared, 0.4], [0.6 - spared, 0.4]
    return {"random": [[0.6, 0.4], [0.62, 0.38]], LOGITS: {"least": least, "most": most}}


def verdicts(ahead, spared):
    noise = (0.0, 0.002, 0.004)
    found = ablation.judged([curves(ahead + n) for n in noise], [orders(spared + n) for n in noise])
    return [finding.verdict for finding in found]


def test_the_claims_hold_where_pls_leads_and_importance_tells():
    assert verdicts(0.1, 0.1) == [HOLDS] * 3


def test_they_do_not_where_pls_falls_behind_and_importance_misleads():
    assert verdicts(-0.1, -0.1) == [FAILS] * 3


def test_a_lead_is_held_against_the_best_of_the_others():
    found = curves(0.1)["curves"] | {LOGITS: [0.6, 0.9]}
    assert ablation.lead(found, PLS) == pytest.approx(-10.0)


def test_an_order_is_held_against_the_mean_of_random_ones():
    assert ablation.spared(orders(0.1), LOGITS, "least") == pytest.approx(5.0)
    assert ablation.spared(orders(0.1), LOGITS, "most") == pytest.approx(-5.0)


def test_neurons_taken_out_are_at_their_mean_until_the_block_ends():
    layer, x, mean = torch.nn.Linear(3, 4), torch.randn(5, 3), torch.arange(4.0, dtype=torch.float64)
    whole = layer(x)
    with ablation.ablated(layer, torch.tensor([3, 1]), mean):
        changed = layer(x)
    assert torch.equal(changed[:, [1, 3]], torch.tensor([[1.0, 3.0]]).expand(5, 2))
    assert torch.equal(changed[:, [0, 2]], whole[:, [0, 2]])
    assert torch.equal(layer(x), whole)


def test_a_unit_that_alone_decides_goes_last_or_first(monkeypatch):
    torch.manual_seed(0)
    net = torch.nn.Sequential()
    net.add_module("fc1", torch.nn.Linear(6, 6))
    with torch.no_grad():
        net.fc1.weight.copy_(torch.eye(6))
        net.fc1.bias.zero_()
    x = torch.randn(400, 6)
    labels = (x[:, 2] > 0).long()

    class Found:
        rank = 1

        class measured:  # noqa: N801
            class moments:  # noqa: N801
                mean = torch.zeros(6, dtype=torch.float64)

        def importance(self, k):
            return np.eye(6)[2] + 0.1

    class Both:
        def __init__(self):
            self.net = net

        def directions(self, layer, kind):
            return Found()

        def accuracy_from(self, layer):
            return lambda net: float(((net(x)[:, 2] > 0).long() == labels).double().mean())

    found = ablation.ablated_curves(Both, 2, 0)
    assert found[LOGITS]["least"][:-2] == [1.0] * (len(ablation.SHARES) - 2)
    assert found[LOGITS]["least"][-1] < 0.7
    assert found[LOGITS]["most"][0] == 1.0
    assert max(found[LOGITS]["most"][3:]) < 0.7
    assert len(found["random"]) == 2
