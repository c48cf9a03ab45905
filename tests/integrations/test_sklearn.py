import json
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import sklearn.cross_decomposition
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks, get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

import reference as ref
import svcca
from svcca.errors import InputError, RankError, SvccaWarning
from svcca.integrations.sklearn import CCA, SVCCA

# scikit-learn's checks fit 10 to 30 rows, for which the warning about chance is right.
few_samples = pytest.mark.filterwarnings("ignore::svcca.errors.SvccaWarning")
both = pytest.mark.parametrize("estimator", [CCA(), SVCCA()], ids=["CCA", "SVCCA"])


class CanonicalCorrelations(CCA):
    """CCA under a name for which scikit-learn's checks have no rules of their own."""


def population(seed, n_samples, correlations, p=5, q=4):
    """Rows of a population with these canonical correlations, then zeros."""
    rng = np.random.default_rng(seed)
    x, y, rho = rng.normal(size=(n_samples, p)), rng.normal(size=(n_samples, q)), np.array(correlations)
    y[:, : len(rho)] = rho * x[:, : len(rho)] + np.sqrt(1 - rho**2) * y[:, : len(rho)]
    mix = np.random.default_rng(0)  # one population, whatever the seed of the rows
    return x @ ref.invertible(mix, p) + mix.normal(size=p), y @ ref.invertible(mix, q) + mix.normal(size=q)


# -- scikit-learn's own checks ----------------------------------------------------------------------------------------

NAMESAKE = (
    "the check takes any class called CCA for scikit-learn's own, of which fit_transform(X, y) returns both variates; "
    "ours returns those of X alone, so that it can stand in the middle of a Pipeline"
)
EXPECTED_FAILURES = {
    "CCA": {"check_transformer_general": NAMESAKE, "check_transformer_data_not_an_array": NAMESAKE},
}


@few_samples
@parametrize_with_checks(
    [CCA(), CanonicalCorrelations(), SVCCA(), SVCCA(n_components=1)],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES.get(type(estimator).__name__, {}),
)
def test_estimator_passes(estimator, check):
    check(estimator)


@few_samples
# These checks fit a frame and transform an array, and the other way round, on purpose.
@pytest.mark.filterwarnings("ignore:X does not have valid feature names:UserWarning")
@pytest.mark.filterwarnings("ignore:X has feature names, but:UserWarning")
@pytest.mark.parametrize("estimator", [CanonicalCorrelations(), SVCCA()], ids=["CCA", "SVCCA"])
@pytest.mark.parametrize(
    "check",
    [
        "check_dataframe_column_names_consistency",
        "check_transformer_get_feature_names_out",
        "check_transformer_get_feature_names_out_pandas",
        "check_set_output_transform",
        "check_set_output_transform_pandas",
        "check_global_output_transform_pandas",
        "check_inplace_ensure_writeable",
    ],
)
def test_estimator_passes_a_check_that_scikit_learn_keeps_for_its_own(estimator, check):
    getattr(estimator_checks, check)(type(estimator).__name__, estimator)


@both
def test_tags_say_that_a_target_is_needed_and_may_have_columns(estimator):
    target = get_tags(estimator).target_tags
    assert (target.required, target.multi_output, target.single_output) == (True, True, True)


# -- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "function"),
    [
        (CCA(), svcca.cca),
        (SVCCA(), svcca.svcca),
        (SVCCA(retained_variance=0.8), lambda x, y: svcca.svcca(x, y, retained_variance=0.8)),
    ],
    ids=["CCA", "SVCCA", "SVCCA at 0.8"],
)
def test_fit_learns_what_the_function_returns(estimator, function):
    x, y = ref.related(0, 300, 6, 4)
    fitted, result = clone(estimator).fit(x, y), function(x, y)
    for name in ("correlations", "x_directions", "y_directions", "x_mean", "y_mean"):
        np.testing.assert_array_equal(getattr(fitted, f"{name}_"), getattr(result, name), err_msg=name)
    for name in ("similarity", "chance", "x_rank", "y_rank"):
        assert getattr(fitted, f"{name}_") == getattr(result, name), name
    assert fitted.n_components_ == len(result.correlations)


def test_retained_variance_changes_how_many_directions_are_kept():
    x, y = ref.related(0, 300, 6, 4)
    x = x * [10, 8, 6, 1, 1, 1]
    assert SVCCA(retained_variance=0.8).fit(x, y).x_rank_ < SVCCA().fit(x, y).x_rank_


def test_correlations_are_those_of_scikit_learns_cca():
    x, y = ref.planted(0, 300, 5, 4, [0.95, 0.7, 0.4, 0.1])
    peer = sklearn.cross_decomposition.CCA(n_components=4, tol=1e-14, max_iter=100_000).fit(x, y)
    u, v = peer.transform(x, y)
    expected = [np.corrcoef(u[:, i], v[:, i])[0, 1] for i in range(4)]
    # The peer iterates until a squared step falls below 1e-14.
    np.testing.assert_allclose(CCA().fit(x, y).correlations_, expected, rtol=0, atol=1e-6)


@both
def test_variates_of_the_fitted_rows_have_unit_variance_and_the_canonical_correlations(estimator):
    x, y = ref.related(0, 300, 4, 3)
    fitted = clone(estimator).fit(x, y)
    u, v = fitted.transform(x, y)
    tolerance = ref.rounding(300, 30)
    np.testing.assert_allclose(np.cov(u.T), np.eye(3), rtol=0, atol=tolerance)
    np.testing.assert_allclose(np.cov(v.T), np.eye(3), rtol=0, atol=tolerance)
    np.testing.assert_allclose(np.cov(u.T, v.T)[:3, 3:], np.diag(fitted.correlations_), rtol=0, atol=tolerance)


@both
def test_fewer_components_are_the_leading_pairs_and_leave_the_similarity_of_all(estimator):
    x, y = ref.related(0, 300, 5, 4)
    whole, leading = clone(estimator).fit(x, y), clone(estimator).set_params(n_components=2).fit(x, y)
    assert leading.n_components_ == 2
    np.testing.assert_array_equal(leading.correlations_, whole.correlations_[:2])
    np.testing.assert_array_equal(leading.transform(x), whole.transform(x)[:, :2])
    np.testing.assert_array_equal(leading.transform(x, y)[1], whole.transform(x, y)[1][:, :2])
    assert leading.similarity_ == whole.similarity_


@both
def test_a_target_of_one_dimension_is_one_column(estimator):
    x, y = ref.related(0, 100, 3, 1)
    flat, column = clone(estimator).fit(x, y[:, 0]), clone(estimator).fit(x, y)
    np.testing.assert_array_equal(flat.correlations_, column.correlations_)
    np.testing.assert_array_equal(flat.transform(x, y[:, 0])[1], flat.transform(x, y)[1])
    assert flat.score(x, y[:, 0]) == flat.score(x, y)


def test_single_precision_is_judged_by_its_own_precision():
    x, y = ref.related(0, 300, 3, 2)
    x = x + 100
    x = np.c_[x, x[:, :1] + x[:, 1:2]].astype(np.float32)  # the sum is rounded, by 1e-5: no direction of its own
    fitted = CCA().fit(x, y.astype(np.float32))
    assert (fitted.x_rank_, CCA().fit(x.astype(np.float64), y).x_rank_) == (3, 4)
    assert fitted.transform(x).dtype == np.float64


@both
def test_inputs_are_left_as_they_were(estimator):
    x, y = ref.related(0, 100, 3, 2)
    before = x.copy(), y.copy()
    fitted = clone(estimator).fit(x, y)
    fitted.transform(x, y)
    fitted.score(x, y)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])


# -- score ------------------------------------------------------------------------------------------------------------


@both
def test_score_of_the_fitted_rows_is_the_mean_correlation(estimator):
    x, y = ref.related(0, 300, 4, 3)
    fitted = clone(estimator).fit(x, y)
    assert fitted.score(x, y) == pytest.approx(fitted.correlations_.mean(), abs=ref.rounding(300, 30))


@both
def test_score_is_the_mean_correlation_of_the_variates_of_new_rows(estimator):
    x, y = ref.related(0, 400, 4, 3)
    fitted = clone(estimator).fit(x[:300], y[:300])
    u, v = fitted.transform(x[300:], y[300:])
    expected = np.mean([np.corrcoef(u[:, i], v[:, i])[0, 1] for i in range(3)])
    assert fitted.score(x[300:], y[300:]) == pytest.approx(expected, abs=ref.rounding(100))


@pytest.mark.parametrize("seed", range(3))
def test_score_on_new_rows_is_near_the_planted_correlations(seed):
    rho, n = np.array([0.9, 0.6, 0.3]), 2000
    fitted = CCA(n_components=3).fit(*population(seed, n, rho))
    # A correlation over n rows has standard deviation (1 - rho^2) / sqrt(n); the directions of the weakest pair turn
    # by about sqrt((p + q) / n) / rho = 0.22, which takes 1 - cos(0.22) = 2.5% off 0.3. Four deviations and that.
    tolerance = 4 * np.sqrt(((1 - rho**2) ** 2).sum() / n) / 3 + 0.025 * 0.3
    assert fitted.score(*population(seed + 100, n, rho)) == pytest.approx(rho.mean(), abs=tolerance)


@few_samples
@both
@pytest.mark.parametrize("seed", range(3))
def test_score_of_noise_on_new_rows_is_near_zero_where_the_fitted_rows_correlate(estimator, seed):
    fitted = clone(estimator).fit(*population(seed, 60, [], 20, 20))
    assert fitted.correlations_[0] > 0.9
    assert fitted.score(*population(seed, 60, [], 20, 20)) > 0.4  # the fitted rows themselves
    # A correlation of unrelated rows deviates by 1 / sqrt(1000), the mean of several by no more. Four of them.
    assert abs(fitted.score(*population(seed + 100, 1000, [], 20, 20))) < 4 / np.sqrt(1000)


def test_score_is_negative_where_a_pair_has_the_other_sign():
    x, y = ref.planted(0, 200, 1, 1, [0.8])
    assert CCA().fit(x, y).score(x, -y) == pytest.approx(-0.8, abs=ref.rounding(200, 30))


@both
def test_score_of_rows_that_are_all_alike_is_an_error(estimator):
    x, y = ref.related(0, 100, 3, 2)
    fitted = clone(estimator).fit(x, y)
    for n_rows in (2, 3, 7, 40):  # for some of these the mean of equal numbers is another number
        with pytest.raises(InputError, match=r"every variate varies|variates that vary"):
            fitted.score(np.tile(x[:1], (n_rows, 1)), np.tile(y[:1], (n_rows, 1)))


def test_score_of_rows_that_are_alike_along_one_side_alone_is_an_error_that_names_it():
    x, y = ref.related(0, 100, 3, 1)
    # Rows that differ, far from the origin, but not along the one canonical direction of x.
    fitted = CCA().fit(x, y)
    across = np.linalg.svd(fitted.x_directions_.T)[2][1]
    rows = x[0] + np.arange(1.0, 21.0)[:, None] * 1e3 * across
    with pytest.raises(RankError, match=r"held_out x: expected canonical variates that vary .*pair 0"):
        fitted.score(rows, y[:20])
    # The same along y.
    swapped = CCA().fit(y, x)
    with pytest.raises(RankError, match=r"held_out y: expected canonical variates that vary .*pair 0"):
        swapped.score(y[:20], rows)


def test_score_of_one_row_is_an_error():
    x, y = ref.related(0, 100, 3, 2)
    with pytest.raises(InputError, match="at least 2 samples"):
        CCA().fit(x, y).score(x[:1], y[:1])


# -- among scikit-learn's tools ---------------------------------------------------------------------------------------


@both
def test_a_pipeline_ends_in_it(estimator):
    x, y = ref.related(0, 300, 4, 3)
    pipeline = make_pipeline(StandardScaler(), clone(estimator)).fit(x[:200], y[:200])
    scaler = StandardScaler().fit(x[:200])
    alone = clone(estimator).fit(scaler.transform(x[:200]), y[:200])
    assert pipeline.score(x[200:], y[200:]) == alone.score(scaler.transform(x[200:]), y[200:])


def test_a_pipeline_goes_on_after_it():
    x, y = ref.planted(0, 300, 4, 3, [0.9, 0.5, 0.2])
    pipeline = make_pipeline(CCA(), LinearRegression()).fit(x, y)
    # The variates of all pairs hold everything about y that is linear in x.
    expected = LinearRegression().fit(x, y).predict(x)
    np.testing.assert_allclose(pipeline.predict(x), expected, rtol=0, atol=ref.rounding(300, 30))


@both
def test_a_clone_has_the_parameters_and_nothing_learned(estimator):
    x, y = ref.related(0, 100, 3, 2)
    copy = clone(clone(estimator).set_params(n_components=2).fit(x, y))
    assert copy.n_components == 2
    with pytest.raises(NotFittedError):
        copy.transform(x)


@both
def test_a_pickled_estimator_transforms_as_before(estimator):
    x, y = ref.related(0, 100, 3, 2)
    fitted = clone(estimator).fit(x, y)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).transform(x), fitted.transform(x))


def test_a_grid_search_scores_each_number_of_components_on_held_out_rows():
    x, y = population(0, 600, [0.9, 0.8])
    folds = KFold(3, shuffle=True, random_state=0)
    search = GridSearchCV(CCA(), {"n_components": np.arange(1, 5)}, cv=folds, error_score="raise").fit(x, y)
    scores = search.cv_results_["mean_test_score"]
    for k, score in enumerate(scores, 1):
        by_hand = np.mean(cross_val_score(CCA(n_components=k), x, y, cv=folds))
        assert score == pytest.approx(by_hand, abs=ref.rounding(1))
    # The third and fourth pair are noise: the sum of the correlations stops growing. Their estimates, over three
    # times 200 rows, deviate from 0 by 1 / sqrt(600) each.
    sums = scores * np.arange(1, 5)
    assert sums[1] - sums[0] > 0.7
    assert abs(sums[3] - sums[1]) < 4 * np.sqrt(2 / 600)


def test_a_grid_search_chooses_a_retained_variance():
    x, y = ref.related(0, 300, 4, 3)
    search = GridSearchCV(SVCCA(), {"retained_variance": [0.5, 0.99]}, error_score="raise").fit(x, y)
    assert search.best_params_["retained_variance"] in (0.5, 0.99)
    assert search.best_estimator_.retained_variance == search.best_params_["retained_variance"]


def test_frames_give_names_in_and_out():
    x, y = ref.related(0, 100, 3, 2)
    frame = pd.DataFrame(x, columns=["a", "b", "c"], index=range(100, 200))
    fitted = SVCCA().set_output(transform="pandas").fit(frame, pd.DataFrame(y, columns=["d", "e"]))
    assert fitted.feature_names_in_.tolist() == ["a", "b", "c"]
    variates = fitted.transform(frame)
    assert variates.columns.tolist() == ["svcca0", "svcca1"] == fitted.get_feature_names_out().tolist()
    assert variates.index.tolist() == list(range(100, 200))
    # A frame's columns lie one after another in memory, which changes the order of sums.
    np.testing.assert_allclose(variates, SVCCA().fit(x, y).transform(x), rtol=0, atol=ref.rounding(100, 30))


def test_a_frame_as_output_changes_no_score():
    x, y = ref.related(0, 100, 3, 2)
    assert CCA().set_output(transform="pandas").fit(x, y).score(x, y) == CCA().fit(x, y).score(x, y)


def test_names_out_are_prefixed_by_the_class():
    x, y = ref.related(0, 100, 3, 2)
    assert CCA().fit(x, y).get_feature_names_out().tolist() == ["cca0", "cca1"]


# -- doubts and errors ------------------------------------------------------------------------------------------------


@both
def test_few_samples_are_warned_of_and_recorded(estimator):
    x, y = population(0, 12, [])
    with pytest.warns(SvccaWarning, match="12 samples") as caught:
        fitted = clone(estimator).fit(x, y)
    assert [str(warning.message) for warning in caught] == [str(doubt) for doubt in fitted.result_.warnings]


@both
@pytest.mark.parametrize("use", ["transform", "score"])
def test_use_before_fit_is_an_error(estimator, use):
    x, y = ref.related(0, 100, 3, 2)
    with pytest.raises(NotFittedError, match="is not fitted yet"):
        getattr(clone(estimator), use)(x, y)


@both
def test_rows_of_another_width_are_an_error(estimator):
    x, y = ref.related(0, 100, 3, 2)
    fitted = clone(estimator).fit(x, y)
    for use in (fitted.transform, fitted.score):
        with pytest.raises(ValueError, match=r"2 features, but \w+ is expecting 3 features"):
            use(x[:, :2], y)
        with pytest.raises(ValueError, match="expected 2 features, as in the fit; got 1"):
            use(x, y[:, 0])


@both
def test_unequal_numbers_of_rows_are_an_error(estimator):
    x, y = ref.related(0, 100, 3, 2)
    with pytest.raises(ValueError, match="the same samples"):
        clone(estimator).fit(x, y[1:])
    fitted = clone(estimator).fit(x, y)
    for use in (fitted.transform, fitted.score):
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            use(x, y[1:])


@both
def test_nan_in_the_target_is_an_error(estimator):
    x, y = ref.related(0, 100, 3, 2)
    fitted = clone(estimator).fit(x, y)
    y[3, 1] = np.nan
    for use in (clone(estimator).fit, fitted.transform, fitted.score):
        with pytest.raises(ValueError, match=r"Input y(?s:.)*contains NaN"):
            use(x, y)


@both
@pytest.mark.parametrize("wrong", [0, -1, 1.0, True, "all"])
def test_a_number_of_components_that_is_none_is_an_error_in_fit(estimator, wrong):
    x, y = ref.related(0, 100, 3, 2)
    with pytest.raises(InputError, match="n_components: expected None or an integer from 1; got"):
        clone(estimator).set_params(n_components=wrong).fit(x, y)


@both
def test_more_components_than_pairs_are_an_error(estimator):
    x, y = ref.related(0, 100, 3, 2)
    with pytest.raises(InputError, match="at most 2, the number of canonical pairs; got 3"):
        clone(estimator).set_params(n_components=3).fit(x, y)


@pytest.mark.parametrize("wrong", [0.0, 1.5, -0.1])
def test_a_share_outside_its_range_is_an_error_in_fit(wrong):
    x, y = ref.related(0, 100, 3, 2)
    with pytest.raises(InputError, match="retained_variance: expected a share in"):
        SVCCA(retained_variance=wrong).fit(x, y)


def test_a_constant_side_is_an_error():
    x, y = ref.related(0, 100, 3, 2)
    with pytest.raises(RankError, match="activations that vary"):
        CCA().fit(x, np.ones_like(y))


# -- imports ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["svcca", "svcca.integrations"])
def test_importing_without_asking_for_it_leaves_scikit_learn_out(module):
    code = f"import {module}, json, sys; print(json.dumps('sklearn' in sys.modules))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) is False
