"""Figure 2: each verdict on cases where its claim is true and where it is not."""

import pytest
from reproduce.claims import FAILS, HOLDS
from reproduce.figures import projection
from reproduce.heads import LARGEST, LOGITS, TWO_SEEDS


def curve(at_a_tenth, needed, neurons):
    kinds = (TWO_SEEDS, LOGITS, LARGEST)
    return {
        "width": 100,
        "ks": [1, 10, 100],
        "unprojected": 0.8,
        "curves": {kind: [0.1, at_a_tenth, 0.8] for kind in kinds},
        "needed": {TWO_SEEDS: needed, LOGITS: needed, LARGEST: neurons},
    }


def units(at_a_tenth, kept):
    return {"width": 100, "ks": [1, 10], "all": [0.2, at_a_tenth], "units": {"10": [0.1, 0.1], "50": [0.1, kept]}}


def verdicts(results):
    curves = dict.fromkeys(projection.LAYERS, results)
    return {finding.claim: finding.verdict for finding in projection.judged(curves)}


def test_few_directions_and_many_neurons_hold():
    found = verdicts([curve(0.799, 10, 90), curve(0.795, 12, 99), curve(0.798, 11, 95)])
    assert set(found.values()) == {HOLDS}
    assert len(found) == 6


def test_many_directions_or_few_neurons_do_not():
    found = verdicts([curve(0.70, 60, 90), curve(0.75, 62, 99), curve(0.72, 64, 95)])
    assert set(found.values()) == {FAILS}


def test_points_are_lost_at_a_tenth_of_the_width():
    assert projection.points_lost(curve(0.77, 10, 90), LOGITS) == pytest.approx(3.0)


def test_neurons_are_counted_in_directions():
    assert projection.times_more_neurons(curve(0.77, 10, 90), TWO_SEEDS) == 9


def test_directions_that_few_units_do_not_carry_are_distributed():
    results = [units(0.7, 0.5), units(0.72, 0.5), units(0.71, 0.52)]
    assert projection.not_carried(results[0]) == pytest.approx(20.0)
    assert projection.distributed(results).verdict == HOLDS


def test_directions_that_sit_in_few_units_are_not():
    assert projection.distributed([units(0.7, 0.7), units(0.72, 0.719), units(0.71, 0.711)]).verdict == FAILS
