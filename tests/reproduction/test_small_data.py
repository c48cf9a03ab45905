"""Figures on made-up data and on the toy net: every statistic where its claim is true, and where it is not."""

import numpy as np
import pytest
import torch
from reproduce import toy
from reproduce.claims import FAILS, HOLDS
from reproduce.figures import invariance, sample_size, signal_and_noise, toy_regression, why_svd

import svcca

RNG = np.random.default_rng


def verdicts(findings):
    return [finding.verdict for finding in findings]


class TestToyRegression:
    def test_the_functions_differ_and_stay_between_minus_one_and_one(self):
        values = toy.targets(toy.GRID).numpy()
        assert np.abs(values).max() <= 1
        assert np.linalg.matrix_rank(np.corrcoef(values.T), tol=0.01) == 4  # x^2 and |x| are at 0.97

    def test_the_net_is_the_papers(self):
        sizes = [tuple(weight.shape) for weight in toy.toy_net(200).parameters() if weight.ndim == 2]
        assert sizes == [(200, 1), (200, 200), (200, 200), (200, 200), (4, 200)]

    def test_the_ith_curve_is_matched_with_the_ith(self):
        t = np.linspace(0, 1, 400, endpoint=False)
        first = np.stack([np.sin(2 * np.pi * t), np.sin(4 * np.pi * t)], 1)
        assert toy_regression.correlations(first, -3 * first + 1) == pytest.approx([-1, -1])
        assert toy_regression.correlations(first, first[:, ::-1]) == pytest.approx([0, 0], abs=1e-12)
        assert toy_regression.correlations(first, np.ones_like(first)).tolist() == [0, 0]

    def test_rotating_a_net_changes_its_neurons_and_no_svcca_direction(self):
        torch.manual_seed(0)
        net, mixing = toy.toy_net(12).eval(), torch.nn.Linear(12, 12)
        mixing.weight.data = torch.linalg.qr(torch.randn(12, 12))[0]
        # The last hidden layer of the second net is that of the first, rotated.
        turned = torch.nn.Sequential()
        for name, layer in net.named_children():
            turned.add_module(name, torch.nn.Sequential(layer, mixing) if name == toy.LAST_HIDDEN else layer)
        found = toy_regression.compared([net, turned.eval()], toy.random_inputs(300, 0), top=2)
        assert min(found["svcca"]["matched"]) > 0.999
        assert min(found["svd"]["matched"]) > 0.999
        assert np.mean(found["neurons"]["matched"]) < 0.98
        assert np.shape(found["svd"]["curves"]) == (2, 401, 2)

    def test_curves_of_the_second_net_are_turned_to_agree(self):
        torch.manual_seed(0)
        net, other = toy.toy_net(12).eval(), toy.toy_net(12).eval()
        for kind in toy_regression.KINDS:
            found = toy_regression.compared([net, other], toy.random_inputs(300, 0), top=2)[kind]
            first, second = np.array(found["curves"])
            assert ((first * second).mean(axis=0) >= 0).all()
            assert (first * second).mean(axis=0) == pytest.approx(found["matched"], abs=1e-3)

    def test_the_error_is_relative_to_the_spread_about_the_mean(self):
        whole = RNG(0).normal(size=(500, 4))
        assert toy_regression.relative_error(whole, whole) == 0
        assert toy_regression.relative_error(np.tile(whole.mean(axis=0), (500, 1)), whole) == pytest.approx(1)
        assert toy_regression.relative_error(7 * whole + 5, 7 * whole + 5 + 0.0) == 0
        assert toy_regression.relative_error(1.1 * whole, whole) == pytest.approx(0.1, rel=0.01)

    def test_projecting_on_all_directions_changes_nothing_and_on_few_it_does(self):
        torch.manual_seed(0)
        nets = [toy.toy_net(12).eval() for _ in range(2)]
        settings = toy_regression.ToyRegression(width=12, kept=(1, 12), shown=(1,))
        found = toy_regression.projected(nets, toy.random_inputs(300, 0), settings)
        for errors in found["errors"].values():
            assert errors[0] > 0.05
            assert errors[1] < 1e-5
        assert [np.shape(outputs) for outputs in found["outputs"].values()] == [(2, 401, 4), (2, 401, 4)]

    @pytest.mark.parametrize(
        ("svcca_match", "other_match", "error", "neurons", "expected"),
        [(0.99, 0.5, 0.01, 0.9, [HOLDS] * 6), (0.6, 0.9, 0.2, 0.01, [FAILS] * 6)],
    )
    def test_verdicts(self, svcca_match, other_match, error, neurons, expected):
        settings = toy_regression.ToyRegression(kept=(2, 30), shown=(2, 30))
        jitter = RNG(0).uniform(-0.005, 0.005, size=(3, 3))
        low, high = other_match + jitter, svcca_match + jitter
        matched = {"trained": {"svcca": high, "svd": low, "neurons": low}, "untrained": {"svcca": low}}
        # What k = 2 gives must not count.
        errors = {"svcca": np.array([[0.9, error]] * 3), "largest_activation": np.array([[0.0, neurons]] * 3)}
        assert verdicts(toy_regression.judged(settings, matched, errors)) == expected


class TestWhySVD:
    SETTINGS = why_svd.WhySVD(n_samples=400, n_units=20, n_shared=5, noise=(0.01, 0.1), judged_at=0.1)

    def test_the_layers_share_what_they_should(self):
        layers = why_svd.made(self.SETTINGS, 0.1, seed=0)
        ranks = {name: svcca.measures.pca(rows).rank_99 for name, rows in layers.items()}
        assert ranks["A"] == 5
        assert 5 < ranks["B"] < ranks["C"]
        assert svcca.cca(layers["A"], layers["B"]).similarity == pytest.approx(1)
        total = svcca.measures.pca(layers["B"]).singular_values
        assert total[5] < 0.2 * total[4]

    def test_noise_changes_b_alone(self):
        quiet, loud = (why_svd.made(self.SETTINGS, noise, seed=3) for noise in (0.01, 1.0))
        assert [np.array_equal(quiet[name], loud[name]) for name in "ABC"] == [True, False, True]

    def test_less_noise_leaves_fewer_directions_and_a_higher_weighted_form(self):
        found = why_svd.compared(self.SETTINGS, seed=0)
        assert found["B"]["rank"] == sorted(found["B"]["rank"])
        assert found["B"]["rank"][0] == 5
        assert found["B"]["by_other"][0] > found["B"]["by_other"][1] > found["C"]["by_other"][1]

    @pytest.mark.parametrize(
        ("b", "c", "expected"),
        [
            # told apart by all but plain CCA
            ((1.0, 1.0, 0.9, 50), (1.0, 0.5, 0.5, 195), [HOLDS] * 5),
            # plain CCA differs, and all else is alike
            ((1.0, 0.9, 0.5, 190), (0.8, 0.9, 0.5, 195), [FAILS] * 5),
        ],
    )
    def test_verdicts(self, b, c, expected):
        keys = ("cca", "svcca", "by_other", "rank")
        layers = {
            name: dict(zip(keys, (np.array([[0.0, value]] * 3) for value in values), strict=True))
            for name, values in (("B", b), ("C", c))
        }
        assert verdicts(why_svd.judged(layers, 1, why_svd.WhySVD())) == expected


class TestSignalAndNoise:
    SETTINGS = signal_and_noise.SignalAndNoise(n_samples=500, n_units=10, n_shared=(3,), noise=(0.1,))

    @pytest.mark.parametrize(("shared", "expected"), [(True, 3), (False, 0)])
    def test_layers_share_k_directions_or_none(self, shared, expected):
        x, y = signal_and_noise.layers(self.SETTINGS, 3, 0.1, shared, RNG(0))
        assert (svcca.cca(x, y).correlations > 0.9).sum() == expected
        values = svcca.measures.pca(x).singular_values
        assert values[2] / values[3] == pytest.approx(10, rel=0.5)

    def test_contrast_is_what_sharing_adds(self):
        values = np.array([[[0.9, 1.0], [0.2, 0.3]], [[0.3, 0.3], [0.3, 0.3]]])
        assert signal_and_noise.contrast(values) == pytest.approx([0.7, 0.0])

    def test_an_order_that_is_the_other_way_round_does_not_hold(self):
        right = {"pwcca": 0.6, "svcca": 0.5, "cca": 0.3, "svcca_weighted": 0.7}
        wrong = {"pwcca": 0.2, "svcca": 0.3, "cca": 0.4, "svcca_weighted": 0.1}
        for levels, expected in ((right, HOLDS), (wrong, FAILS)):
            contrasts = {name: np.full(3, level) for name, level in levels.items()}
            assert verdicts(signal_and_noise.judged(contrasts)) == [expected] * 3


class TestSampleSize:
    def test_noise_below_its_width_is_1_and_near_chance_everywhere(self):
        settings = sample_size.SampleSize(n_units=20, n_samples=(10, 20, 100, 200), nets=None)
        found = sample_size.of_noise(settings, seed=0)
        assert found["cca"][:2] == pytest.approx([1, 1])
        assert found["cca"] == pytest.approx(found["chance"], abs=0.05)
        assert found["cca"][-1] < 0.5

    def test_subsets_are_drawn_without_replacement_and_all_rows_only_once(self):
        x = RNG(0).normal(size=(200, 3))
        found = sample_size.over_sizes(x, x @ [[1, 2, 0], [0, 1, 0], [3, 0, 1]], (20, 200), 3, RNG(1))
        assert found["cca"] == pytest.approx([1, 1])
        whole = sample_size.over_sizes(x, x**2, (200,), 3, RNG(1))
        assert whole["cca"] == pytest.approx([svcca.cca(x, x**2).similarity])

    def test_the_worst_miss_counts(self):
        assert sample_size.worst_miss(np.array([[0.5, 0.2]]), np.array([[0.5, 0.3]])) == pytest.approx([0.1])

    def test_settled_is_measured_from_the_last_size(self):
        assert sample_size.unsettled(np.array([[1.0, 0.7, 0.5]]), (1, 10, 100), 10) == pytest.approx([0.2])

    @pytest.mark.parametrize(
        ("below_width", "at_ten", "miss", "settled", "expected"),
        [(1.0, 0.05, 0.001, 0.01, [HOLDS] * 6), (0.9, 0.3, 0.05, 0.2, [FAILS] * 6)],
    )
    def test_verdicts(self, below_width, at_ten, miss, settled, expected):
        settings = sample_size.SampleSize(n_units=100, n_samples=(100, 1000), n_images=(50, 500), nets=None)
        cca = np.array([[below_width, at_ten]] * 3)
        trained = {name: np.array([[0.5 + settled, 0.5]] * 3) for name in sample_size.MEASURES}
        noise = {"cca": cca, "chance": cca + np.array([0, miss])}
        assert verdicts(sample_size.judged(settings, noise, trained, n_units=5)) == expected


class TestInvariance:
    ROWS = RNG(0).normal(size=(300, 6)) @ RNG(1).normal(size=(6, 6)) + 5

    @pytest.mark.parametrize("name", invariance.MAPS)
    def test_a_map_is_invertible_and_of_bounded_condition(self, name):
        mapped = invariance.MAPS[name](self.ROWS, RNG(0))
        rows, images = (part - part.mean(axis=0) for part in (self.ROWS, mapped))
        matrix = np.linalg.lstsq(rows, images, rcond=None)[0]
        assert np.allclose(rows @ matrix, images)
        singular = np.linalg.svd(matrix, compute_uv=False)
        wanted = invariance.CONDITION if name in ("scaled each", "any invertible map") else 1
        assert singular[0] / singular[-1] == pytest.approx(wanted)

    def test_what_rounding_filled_is_emptied(self):
        flat = (RNG(0).normal(size=(500, 3)) @ RNG(1).normal(size=(3, 8)) + 200).astype(np.float32)
        assert len(svcca.measures.pca(flat.astype(np.float64)).singular_values) > 3
        cleaned = invariance.resolved(flat)
        assert len(svcca.measures.pca(cleaned).singular_values) == 3
        assert np.abs(cleaned - flat).max() < 1e-4

    def test_condition_is_that_of_the_directions_there_are(self):
        turn = np.linalg.qr(RNG(0).normal(size=(500, 2)))[0]
        rows = (turn - turn.mean(axis=0)) @ [[100.0, 0, 0], [0, 1, 0]]
        assert invariance.condition(rows) == pytest.approx(100, rel=0.05)

    def test_single_neurons_see_permutations_as_equal_and_rotations_not(self):
        x = RNG(0).normal(size=(500, 6))
        assert invariance.best_single_neuron(x, x[:, ::-1] * 3 + 1) == pytest.approx(1)
        assert invariance.best_single_neuron(x, invariance.rotated(x, RNG(1))) < 0.9
        dead = np.hstack([x, np.ones((500, 1))])
        assert invariance.best_single_neuron(dead, dead) == pytest.approx(1)

    def test_a_correlation_that_is_lost_is_a_change(self):
        assert invariance.largest_change(np.array([0.9, 0.5]), np.array([0.9])) == 0.5
        assert invariance.largest_change(np.array([0.9]), np.array([0.8])) == pytest.approx(0.1)

    def test_what_is_invariant_does_not_change_and_the_rest_does(self):
        y = np.tanh(self.ROWS @ RNG(2).normal(size=(6, 5)) / 5)
        found = invariance.changed(self.ROWS, y, RNG(0))
        assert max(found["rho"]) < 1e-12
        names = list(invariance.MAPS)
        mixing, turning = names.index("any invertible map"), names.index("rotated")
        assert max(found["linear_cka"][:mixing][:3]) < 1e-12 < 1e-3 < found["linear_cka"][mixing]
        assert found["neurons"][turning] > 1e-3

    @pytest.mark.parametrize(
        ("change", "expected"), [(1e-14, [HOLDS] * 6 + [FAILS] * 2), (0.1, [FAILS] * 6 + [HOLDS] * 2)]
    )
    def test_verdicts(self, change, expected):
        changes = {name: np.full((3, 4, len(invariance.MAPS)), change) for name in invariance.LABELS}
        assert verdicts(invariance.judged(np.full((3, 4), 100.0), changes)) == expected

    @pytest.mark.parametrize(("condition", "expected"), [(100.0, [FAILS, HOLDS, FAILS]), (1e12, [HOLDS, HOLDS, FAILS])])
    def test_one_map_that_changes_rho_is_enough_unless_float64_cannot_tell(self, condition, expected):
        changes = {name: np.zeros((3, 4, len(invariance.MAPS))) for name in invariance.LABELS}
        changes["rho"][:, 2, 1] = 0.1
        assert verdicts(invariance.judged(np.full((3, 4), condition), changes))[:3] == expected

    def test_a_change_is_counted_in_roundings_of_layer_and_map(self):
        change = np.zeros((1, 2, len(invariance.MAPS)))
        change[0, 1, -1] = 30_000 * invariance.EPS
        assert invariance.in_roundings(np.array([[1.0, 1000.0]]), change) == pytest.approx([3])
