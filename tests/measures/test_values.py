import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference as ref
from every_measure import EVERY
from svcca.core.coherence import Coherence
from svcca.core.moments import JointMoments
from svcca.core.subspace import Subspace, SVDStep
from svcca.errors import InputError, UnknownOptionError
from svcca.measures import CCA, MEASURES, PWCCA, LinearCKA, Similarity, chance
from svcca.measures.evaluate import doubts, evaluate
from svcca.measures.registry import get_measure
from svcca.measures.spectra import participation_ratio

seeds = st.integers(0, 2**32 - 1)
widths = st.integers(1, 6)
every_measure = pytest.mark.parametrize("measure", EVERY.values(), ids=EVERY.keys())
# Two layers of `ref.related` have condition numbers up to about 10; the slack is for the rare worse draw.
TOLERANCE = ref.rounding(80, 30)


def from_moments(x, y):
    return Coherence.from_moments(JointMoments.from_rows(x, y))


both_routes = pytest.mark.parametrize("route", [Coherence.from_rows, from_moments])


def value(measure, x, y, share=1.0):
    return evaluate(measure, Coherence.from_rows(x, y), SVDStep(share)).similarity


# -- against the oracles ----------------------------------------------------------------------------------------------


@both_routes
@given(seed=seeds, p=widths, q=widths)
def test_the_mean_correlation_is_the_oracles(route, seed, p, q):
    x, y = ref.related(seed, 80, p, q)
    assert CCA().value(route(x, y)) == pytest.approx(ref.correlations(x, y).mean(), abs=TOLERANCE)


@both_routes
@given(seed=seeds, p=widths, q=widths)
def test_pwcca_is_the_oracles_summed_neuron_by_neuron(route, seed, p, q):
    x, y = ref.related(seed, 80, p, q)
    assert PWCCA().value(route(x, y)) == pytest.approx(ref.pwcca(x, y), abs=TOLERANCE)


@both_routes
@given(seed=seeds, p=widths, q=widths)
def test_linear_cka_is_the_oracles_by_gram_matrices(route, seed, p, q):
    x, y = ref.related(seed, 80, p, q)
    assert LinearCKA().value(route(x, y)) == pytest.approx(ref.linear_cka(x, y), abs=TOLERANCE)


@both_routes
@given(seed=seeds, p=widths, q=widths, share=st.floats(0.3, 0.999))
def test_svcca_is_the_oracles_with_its_ranks(route, seed, p, q, share):
    x, y = ref.related(seed, 80, p, q)
    got = evaluate(get_measure("svcca"), route(x, y), SVDStep(share))
    similarity, x_rank, y_rank = ref.svcca(x, y, share)
    assert (got.x_rank, got.y_rank) == (x_rank, y_rank)
    # Directions on either side of the cut mix by rounding over the gap of their variances.
    assert got.similarity == pytest.approx(similarity, abs=1e4 * TOLERANCE)


def test_wide_layers_agree_with_the_oracles():
    latent_x, latent_y = ref.related(0, 40, 4, 3)
    x, y = latent_x @ ref.gaussian(1, 4, 70), latent_y @ ref.gaussian(2, 3, 50)
    pair = Coherence.from_rows(x, y)
    assert CCA().value(pair) == pytest.approx(ref.deficient_correlations(x, y, 4, 3).mean(), abs=TOLERANCE)
    assert PWCCA().value(pair) == pytest.approx(ref.pwcca(x, y, 4, 3), abs=TOLERANCE)
    assert LinearCKA().value(pair) == pytest.approx(ref.linear_cka(x, y), abs=TOLERANCE)


def test_complex_pwcca_is_the_oracles():
    x = ref.gaussian(0, 50, 2) + 1j * ref.gaussian(1, 50, 2)
    y = ref.gaussian(2, 50, 3) + 1j * ref.gaussian(3, 50, 3)
    y[:, :2] += (1 + 2j) * x
    assert PWCCA().value(Coherence.from_rows(x, y)) == pytest.approx(ref.pwcca(x, y), abs=TOLERANCE)


@given(seed=seeds, p=st.integers(1, 9))
def test_the_participation_ratio_is_the_trace_formula(seed, p):
    x = ref.related(seed, 80, p, 1)[0]
    ratio = participation_ratio(Subspace.from_rows(x))
    assert ratio == pytest.approx(ref.participation_ratio(x), rel=TOLERANCE)
    assert 1 - TOLERANCE <= ratio <= p + TOLERANCE


# -- laws -------------------------------------------------------------------------------------------------------------


@every_measure
@given(seed=seeds, p=widths, q=widths)
def test_every_measure_is_within_zero_and_one(measure, seed, p, q):
    x, y = ref.related(seed, 40, p, q)
    assert 0 <= value(measure, x, y) <= 1


@every_measure
@given(seed=seeds, p=widths)
def test_a_layer_is_never_more_than_identical_to_itself(measure, seed, p):
    x = ref.related(seed, 40, p, 1)[0]
    assert value(measure, x, x) <= 1


@every_measure
@given(seed=seeds, p=widths)
def test_a_layer_is_identical_to_itself(measure, seed, p):
    x = ref.related(seed, 80, p, 1)[0]
    assert value(measure, x, x, 0.99) == pytest.approx(1, abs=1e-12)  # the definition's own figure


@every_measure
@given(seed=seeds, p=widths, q=widths)
def test_a_symmetric_measure_does_not_mind_which_layer_comes_first(measure, seed, p, q):
    x, y = ref.related(seed, 80, p, q)
    if measure.symmetric:
        assert value(measure, x, y, 0.99) == pytest.approx(value(measure, y, x, 0.99), abs=TOLERANCE)


def test_pwcca_of_equal_widths_is_marked_asymmetric_because_it_is():
    x, y = ref.related(3, 80, 4, 4)
    measure = get_measure("pwcca")
    assert not measure.symmetric
    assert abs(value(measure, x, y) - value(measure, y, x)) > 1e3 * TOLERANCE


@every_measure
@given(seed=seeds, offset=st.sampled_from([-1000.0, 1.0, 1e4]))
def test_an_offset_changes_nothing(measure, seed, offset):
    x, y = ref.related(seed, 80, 4, 3)
    assert value(measure, x + offset, y) == pytest.approx(value(measure, x, y), abs=abs(offset) * TOLERANCE)


@every_measure
@given(seed=seeds, scale=st.sampled_from([1e-8, 1e-5, 1e8]))
def test_a_scale_changes_nothing(measure, seed, scale):
    x, y = ref.related(seed, 80, 4, 3)
    expected = value(measure, x, y)
    assert value(measure, scale * x, y) == pytest.approx(expected, abs=TOLERANCE)
    assert value(measure, x, scale * y) == pytest.approx(expected, abs=TOLERANCE)


@every_measure
@given(seed=seeds)
def test_the_order_of_samples_changes_nothing(measure, seed):
    x, y = ref.related(seed, 80, 4, 3)
    order = np.random.default_rng(seed).permutation(80)
    assert value(measure, x[order], y[order]) == pytest.approx(value(measure, x, y), abs=TOLERANCE)


@every_measure
@given(seed=seeds)
def test_the_order_of_units_changes_nothing(measure, seed):
    x, y = ref.related(seed, 80, 4, 3)
    order = np.random.default_rng(seed).permutation(4)
    assert value(measure, x[:, order], y) == pytest.approx(value(measure, x, y), abs=TOLERANCE)


@pytest.mark.parametrize("name", ["svcca", "linear_cka"])
@given(seed=seeds)
def test_a_rotation_changes_nothing(name, seed):
    x, y = ref.related(seed, 80, 4, 3)
    measure, turn = get_measure(name), ref.orthogonal(np.random.default_rng(seed), 4)
    assert value(measure, x @ turn, y) == pytest.approx(value(measure, x, y), abs=TOLERANCE)


@given(seed=seeds)
def test_an_invertible_map_of_either_layer_leaves_the_mean_correlation(seed):
    x, y = ref.related(seed, 80, 4, 3)
    rng = np.random.default_rng(seed)
    expected = CCA().value(Coherence.from_rows(x, y))
    mapped = Coherence.from_rows(x @ ref.invertible(rng, 4) - 2, y @ ref.invertible(rng, 3) + 5)
    assert CCA().value(mapped) == pytest.approx(expected, abs=100 * TOLERANCE)  # the maps' own condition, 3 ** 4


@given(seed=seeds)
def test_an_invertible_map_of_the_wider_layer_leaves_pwcca(seed):
    x, y = ref.related(seed, 80, 3, 4)
    mapped = y @ ref.invertible(np.random.default_rng(seed), 4)
    got, expected = (PWCCA().value(Coherence.from_rows(x, z)) for z in (mapped, y))
    assert got == pytest.approx(expected, abs=10 * TOLERANCE)


def test_pwcca_weighs_by_x_where_widths_are_equal():
    # One unit of x is loud: the match lies there. In y the loud unit is not the matching one.
    shared, own_x, own_y = ref.gaussian(0, 3, 500)
    x = np.column_stack([100 * shared, own_x])
    y = np.column_stack([shared, 100 * own_y])
    measure = get_measure("pwcca")
    assert value(measure, x, y) > 0.95
    assert value(measure, y, x) < 0.1


def test_pwcca_weighs_by_the_narrower_layer_when_that_is_the_second():
    shared, own_x, own_y, more = ref.gaussian(0, 4, 500)
    x = np.column_stack([100 * shared, own_x, 100 * more])
    y = np.column_stack([shared, 100 * own_y])
    assert value(get_measure("pwcca"), x, y) < 0.15
    assert value(get_measure("pwcca"), y, x) == pytest.approx(value(get_measure("pwcca"), x, y), abs=TOLERANCE * 1e4)


def test_pwcca_whitens_before_it_weighs():
    # Without the whitening the strongly correlated units of x would be taken for orthonormal ones.
    x, y = ref.related(7, 200, 3, 5, condition=30)
    h, rho = ref.variates(x, y)[0], ref.correlations(x, y)
    unwhitened = np.abs(np.linalg.lstsq(ref.centred(x), h, rcond=None)[0]).sum(axis=0)
    wrong = (unwhitened * rho).sum() / unwhitened.sum()
    right = PWCCA().value(Coherence.from_rows(x, y))
    assert right == pytest.approx(ref.pwcca(x, y), abs=10 * TOLERANCE)
    assert abs(right - wrong) > 0.01  # far beyond rounding: the two definitions are told apart here


# -- identities -------------------------------------------------------------------------------------------------------


@given(seed=seeds, p=st.integers(1, 4), extra=st.integers(0, 3))
def test_mean_squared_correlation_is_linear_cka_of_the_whitened_layers(seed, p, extra):
    q = p + extra
    x, y = ref.related(seed, 80, p, q)
    whitened = Coherence.from_rows(ref.basis(x)[0], ref.basis(y)[0])
    squares = (Coherence.from_rows(x, y).correlations ** 2).mean()
    assert float(squares) == pytest.approx(LinearCKA().value(whitened) * np.sqrt(q / p), abs=TOLERANCE)


def test_an_invertible_image_is_no_identity_for_linear_cka():
    x = ref.gaussian(0, 80, 4)
    assert value(get_measure("linear_cka"), x, x @ np.diag([1.0, 10.0, 100.0, 1000.0])) < 0.9


# -- registry, chance, warnings ---------------------------------------------------------------------------------------


def test_the_registry_lists_every_measure_by_its_own_name():
    assert {name: measure.name for name, measure in MEASURES.items()} == {name: name for name in MEASURES}


def test_an_unknown_measure_lists_the_known_ones_and_the_closest():
    with pytest.raises(
        UnknownOptionError,
        match=re.escape(
            "linear_regression_r2, cca_top, cca_thresholded, svcca_weighted; got 'svca'. Did you mean 'svcca'?"
        ),
    ):
        get_measure("svca")


@every_measure
def test_an_evaluation_records_what_it_was_computed_from(measure):
    x, y = ref.related(0, 80, 4, 3)
    result = evaluate(measure, Coherence.from_rows(x, y), SVDStep(1.0))
    assert isinstance(result, Similarity)
    assert (result.measure, result.x_rank, result.y_rank, result.n_samples) == (measure.label, 4, 3, 80)
    assert result.warnings == ()
    assert float(result) == result.similarity


@pytest.mark.parametrize("name", ["pwcca", "linear_cka"])
def test_measures_without_an_svd_step_are_not_cut(name):
    x, y = ref.related(0, 80, 4, 3)
    assert evaluate(get_measure(name), Coherence.from_rows(x, y), SVDStep(0.3)).x_rank == 4


@every_measure
@pytest.mark.parametrize("share", [0.0, 1.5, float("nan")])
def test_a_share_outside_zero_to_one_is_refused_whether_or_not_it_is_used(measure, share):
    pair = Coherence.from_rows(*ref.related(0, 80, 4, 3))
    with pytest.raises(InputError, match=r"retained_variance: expected a share in \(0, 1\]"):
        evaluate(measure, pair, SVDStep(share))


def test_chance_of_svcca_is_that_of_the_kept_ranks():
    x, y = ref.gaussian(0, 200, 6) * 30.0 ** -np.arange(6), ref.gaussian(1, 200, 4)
    result = evaluate(get_measure("svcca"), Coherence.from_rows(x, y), SVDStep(0.99))
    assert (result.x_rank, result.y_rank) == (1, 4)
    assert result.chance == chance.cca_mean(1, 4, 200)


def test_chance_of_linear_cka_is_that_of_the_participation_ratios():
    x, y = ref.related(0, 80, 4, 3)
    expected = np.sqrt(ref.participation_ratio(x) * ref.participation_ratio(y)) / 79
    result = evaluate(get_measure("linear_cka"), Coherence.from_rows(x, y), SVDStep(1.0))
    assert result.chance == pytest.approx(expected, rel=TOLERANCE)


def test_correlations_forced_to_one_are_counted_in_the_warning():
    pair = Coherence.from_rows(ref.gaussian(0, 21, 15), ref.gaussian(1, 21, 12))
    (doubt,) = doubts(CCA(), pair, 1.0, "layer a and layer b")
    assert doubt.kind == "forced"
    assert doubt.text.startswith(
        "layer a and layer b: 7 of 12 canonical correlations are 1 whatever the layers hold, because 21 samples cannot "
        "tell 15 + 12 directions apart."
    )
    assert "Use more samples" in doubt.text


def test_a_high_chance_level_is_named_in_the_warning():
    pair = Coherence.from_rows(ref.gaussian(0, 40, 8), ref.gaussian(1, 40, 9))
    (doubt,) = doubts(CCA(), pair, 0.3712, "x and y")
    assert doubt.kind == "chance"
    assert "unrelated layers would already give 0.37 with 40 samples and 8 and 9 directions" in doubt.text


def test_a_low_chance_level_needs_no_warning():
    pair = Coherence.from_rows(*ref.related(0, 80, 4, 3))
    assert doubts(CCA(), pair, chance.CHANCE_WARNING, "x and y") == []


def test_linear_cka_has_no_correlations_that_could_be_forced():
    pair = Coherence.from_rows(ref.gaussian(0, 21, 15), ref.gaussian(1, 21, 12))
    assert doubts(LinearCKA(), pair, 0.1, "x and y") == []
