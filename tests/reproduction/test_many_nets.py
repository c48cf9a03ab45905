"""Figures of many small nets: planted distances on which a claim is true or false, and the statistics they rest on."""

import numpy as np
import pytest
import torch
from reproduce.between_nets import HIDDEN, LAYERS, across, distances, jackknife, of_rows, within
from reproduce.claims import FAILS, HOLDS, half_width, judge
from reproduce.clusters import best_clusters, cloud_silhouettes, ordered, share_explained
from reproduce.figures import learning_rates, memorisation, width
from reproduce.nets import Net
from reproduce.study import Trained

import svcca


def rows(seed, n=200, p=4):
    return torch.randn(n, p, generator=torch.Generator().manual_seed(seed))


# between_nets


def test_the_distance_of_two_nets_is_one_less_pwcca_with_chance_beside_it():
    x, y = rows(0), rows(1, p=6)
    found = of_rows([x, y])
    assert found["distance"][0][1] == pytest.approx(1 - float(svcca.measures.pwcca(x, y, side="mean")), abs=1e-9)
    assert found["distance"][0][1] == found["distance"][1][0]
    assert found["chance"][0][1] == pytest.approx(1 - svcca.measures.pwcca(x, y).chance, abs=1e-9)


def test_an_invertible_map_of_a_layer_is_at_no_distance():
    assert of_rows([rows(0), rows(0) @ rows(7, 4, 4) + 3])["distance"][0][1] == pytest.approx(0, abs=1e-6)


def test_a_constant_layer_is_as_far_as_can_be():
    found = of_rows([rows(0), torch.ones(200, 4), rows(0)])
    assert np.allclose(found["distance"], [[0, 1, 0], [1, 0, 1], [0, 1, 0]], atol=1e-6)
    assert of_rows([torch.ones(9, 2)] * 2)["distance"] == [[0, 1], [1, 0]]


def test_every_layer_of_every_net_is_compared_by_its_means_over_space():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        nets = [Net(width=3).build((1, 8, 8), 10).eval() for _ in range(2)]
    images = torch.randn(500, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    found = distances(nets, images)
    assert list(found) == list(LAYERS)
    pooled = [torch.relu(net[0](images)).mean(dim=(2, 3)) for net in nets]
    assert found["relu1"]["distance"][0][1] == pytest.approx(of_rows(pooled)["distance"][0][1], abs=1e-4)


def test_means_over_pairs_leave_a_net_with_itself_out():
    matrix = np.array([[9.0, 1, 2], [1, 9, 3], [2, 3, 9]])
    assert within(matrix, [0, 1, 2]) == 2
    assert within(matrix[None], [0, 2]).tolist() == [2]
    assert across(matrix, [0], [1, 2]) == 1.5


def test_the_jackknife_of_a_plain_mean_gives_back_its_values():
    values = np.array([0.3, 0.5, 0.1, 0.9])
    assert jackknife(4, lambda kept: values[kept].mean()) == pytest.approx(values)


def test_two_seeds_give_one_value():
    assert jackknife(2, len) == [2]


def test_jackknife_intervals_over_pairs_cover_the_truth_and_those_of_single_nets_do_not():
    rng = np.random.default_rng(0)
    n, covered, naive = 5, [], []
    for _ in range(300):
        own = rng.normal(size=n)
        matrix = own[:, None] + own[None] + 0.1 * rng.normal(size=(n, n))
        for intervals, values in (
            (covered, jackknife(n, lambda kept, matrix=matrix: within(matrix, kept))),
            (naive, [across(matrix, [i], [j for j in range(n) if j != i]) for i in range(n)]),
        ):
            intervals.append(abs(np.mean(values)) <= half_width(values))
    assert np.mean(covered) > 0.9
    assert np.mean(naive) < 0.8


# memorisation


def groups_of(general, memorising, across_groups, n=4, spread=0.002):
    """Distances in every layer (early and late given apart) of n generalising, n memorising and n untrained nets."""
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1, 2], n)
    layers = []
    for place in range(len(LAYERS)):
        late = place >= 5
        levels = np.full((3, 3), 0.7)
        levels[0, 0], levels[1, 1] = general[late], memorising[late]
        levels[0, 1] = levels[1, 0] = across_groups[late]
        own = spread * rng.normal(size=3 * n)
        layers.append(levels[group][:, group] + own[:, None] + own[None])
    return np.array(layers)


def test_memorising_nets_that_differ_late_only_are_told_as_the_paper_tells_it():
    matrices = groups_of((0.2, 0.45), (0.2, 0.60), (0.2, 0.59))
    late = memorisation.gap(matrices, 4, "memorising", "generalising")
    assert np.mean(late) == pytest.approx(0.15, abs=0.01)
    assert judge("c", "s", late, above=0).verdict == HOLDS
    assert judge("c", "s", memorisation.gap(matrices, 4, "across", "generalising"), above=0).verdict == HOLDS
    three = ("generalising", "memorising", "across")
    early = memorisation.widest_gap(matrices, 4, three, memorisation.EARLY)
    assert judge("c", "s", early, below=memorisation.ALIKE).verdict == HOLDS
    two = memorisation.widest_gap(matrices, 4, ("memorising", "across"), memorisation.LATE)
    assert judge("c", "s", two, below=memorisation.ALIKE).verdict == HOLDS


def test_groups_that_differ_early_and_agree_late_are_told_so():
    matrices = groups_of((0.2, 0.60), (0.4, 0.50), (0.3, 0.59))
    assert judge("c", "s", memorisation.gap(matrices, 4, "memorising", "generalising"), above=0).verdict == FAILS
    three = ("generalising", "memorising", "across")
    early = memorisation.widest_gap(matrices, 4, three, memorisation.EARLY)
    assert np.mean(early) == pytest.approx(0.2, abs=0.01)
    assert judge("c", "s", early, below=memorisation.ALIKE).verdict == FAILS
    two = memorisation.widest_gap(matrices, 4, ("memorising", "across"), memorisation.LATE)
    assert np.mean(two) == pytest.approx(0.09, abs=0.01)


# width


def test_the_fall_is_what_a_doubling_of_the_width_takes_off():
    assert width.fall(np.array([0.0, 1, 2]), np.array([0.7, 0.6, 0.5])) == pytest.approx(0.1)
    assert width.fall(np.array([0.0, 1, 2]), np.array([0.5, 0.6, 0.7])) == pytest.approx(-0.1)


def test_the_correlation_of_distance_and_accuracy_has_its_sign():
    assert width.correlation(np.array([0.5, 0.6, 0.9]), np.array([0.5, 0.4, 0.1])) == pytest.approx(-1)
    assert width.correlation(np.array([0.5, 0.6, 0.9]), np.array([0.1, 0.2, 0.5])) == pytest.approx(1)


def test_distances_are_taken_as_a_share_of_those_of_unrelated_layers():
    layer = {"distance": [[0, 0.4], [0.4, 0]], "chance": [[0, 0.8], [0.8, 0]]}
    other = {"distance": [[0, 0.3], [0.3, 0]], "chance": [[0, 0.4], [0.4, 0]]}
    share, units, chance = width.stacked([{"layers": {"a": layer, "b": other}, "units": layer}])
    assert share[0, 0, 1] == pytest.approx((0.5 + 0.75) / 2)
    assert units[0, 0, 1] == 0.4
    assert chance[0, 0, 1] == pytest.approx(0.6)


def test_as_many_units_of_each_net_are_compared_whatever_its_width():
    wide = rows(0, p=40)
    chosen = width.some_units(wide, 3, seed=1)
    assert chosen.shape == (200, 3)
    assert all((wide == unit[:, None]).all(dim=0).any() for unit in chosen.T)
    assert not width.some_units(wide, 3, seed=2).equal(chosen)
    nets = [{layer: rows(10 * seed, p=12) for layer in HIDDEN} for seed in range(2)]
    found = width.measured(nets, 3)
    assert list(found["layers"]) == list(HIDDEN)
    few = of_rows([width.some_units(net["relu6"], 3, seed) for seed, net in enumerate(nets)])
    assert found["units"] == few


def test_the_distance_of_one_net_is_to_the_other_trained_ones():
    matrices = np.arange(32.0).reshape(2, 4, 4)
    assert width.of_net(matrices, 0, 3).tolist() == [1.5, 17.5]


# clusters and learning_rates


def planted(kind, n=14, seed=0):
    """Distances of points in many directions with noise of length 0.5: one cloud, along a line, in three clusters."""
    rng = np.random.default_rng(seed)
    t = np.linspace(-1, 1, n)
    points = 0.5 * rng.normal(size=(n, 300)) / 300**0.5
    if kind == "line":
        points[:, 0] += 2 * t
    elif kind == "clusters":
        points[:, 0] += 2.5 * (t > -0.3)
        points[:, 1] += 2.5 * (t > 0.35)
    return np.linalg.norm(points[:, None] - points[None], axis=-1), t


@pytest.mark.parametrize(("kind", "clustered"), [("cloud", False), ("line", False), ("clusters", True)])
def test_clusters_are_told_from_a_cloud_and_from_a_line(kind, clustered):
    matrix, _ = planted(kind)
    null = cloud_silhouettes(matrix, 40, seed=0)
    assert (best_clusters(matrix)[0] > np.quantile(null, 0.95)) == clustered


def test_the_clusters_that_are_there_are_found():
    matrix, t = planted("clusters")
    silhouette, labels = best_clusters(matrix)
    assert silhouette > 0.6
    truth = (t > -0.3).astype(int) + (t > 0.35)
    assert len({*zip(labels, truth, strict=True)}) == len(np.unique(labels)) == 3
    order = ordered(matrix, labels)
    assert sorted(order) == list(range(14))
    assert (np.diff(labels[order]) != 0).sum() == 2


def test_a_cloud_is_as_silhouettes_go_like_other_clouds_of_its_kind():
    null = np.mean([cloud_silhouettes(planted("cloud", seed=seed)[0], 10, seed) for seed in range(5)])
    seen = np.mean([best_clusters(planted("cloud", seed=seed)[0])[0] for seed in range(5)])
    assert null == pytest.approx(seen, abs=0.03)  # each is a mean of small numbers: about 0.02


def test_equal_distances_have_no_clusters():
    silhouette, labels = best_clusters(1 - np.eye(6))
    assert silhouette == pytest.approx(0, abs=0.01)
    assert len(labels) == 6


def test_the_share_that_clusters_explain_is_one_for_the_rates_themselves_and_nothing_for_chance():
    rates = np.array([1.0, 1, 1, 2, 2, 2])
    assert share_explained([1, 1, 1, 2, 2, 2], rates) == pytest.approx(1)
    rng = np.random.default_rng(0)
    chance = [share_explained(rng.permutation(np.repeat([1, 2, 3], 5)), np.arange(15.0)) for _ in range(400)]
    assert np.mean(chance) == pytest.approx(0, abs=0.03)  # 400 draws, standard deviation 0.15


def trained(loss, accuracy):
    return Trained({}, torch.nn.Identity, {"losses": [9.0, loss], "train_accuracy": accuracy})


def test_nets_that_diverged_or_learned_nothing_are_left_out():
    assert learning_rates.learned(trained(0.1, 0.9))
    assert not learning_rates.learned(trained(float("nan"), 0.9))
    assert not learning_rates.learned(trained(2.3, 0.12))


def test_a_set_without_enough_nets_is_an_error():
    nets = [(0.1, 0, trained(0.1, 0.9))] * 3 + [(0.2, 1, trained(0.1, 0.9))] * 4
    matrix, rates = learning_rates._set(np.arange(49.0).reshape(7, 7), nets, 1)
    assert matrix[0, 0] == 24
    assert rates.tolist() == [0.2] * 4
    with pytest.raises(learning_rates.ReproduceError, match="seed 0: expected at least 4 nets that learned; got 3"):
        learning_rates._set(np.eye(7), nets, 0)
