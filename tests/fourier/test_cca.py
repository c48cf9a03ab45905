"""The Fourier way against CCA of the flattened maps over every shift of the inputs; what it refuses and warns of."""

import itertools
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import reference as ref
from every_measure import EVERY
from shifts import Layers, axes, closed, conv, flat, shifted
from svcca.core import JointMoments
from svcca.core.subspace import SVDStep
from svcca.errors import InputError, NonFiniteError, RankError, SampleError, SvccaWarning, UnknownOptionError
from svcca.fourier.cca import fourier_cca
from svcca.fourier.grid import FourierAccumulator
from svcca.fourier.translation import translation_gap
from svcca.measures import chance, similarities
from svcca.measures.cca import svcca

EXACT = 1e-10
quiet = pytest.mark.filterwarnings("ignore::svcca.errors.SvccaWarning")
few = settings(max_examples=25)


def result_of(layers, phases=1, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SvccaWarning)
        return fourier_cca(*layers.over(shifted(layers.images, phases)), **{"retained_variance": 1.0, **options})


def flattened(layers):
    """Canonical correlations of the flattened maps over every shift, from their definition."""
    x, y = layers.over(closed(layers.images))
    return ref.correlations(flat(x), flat(y))


def same(got, expected, tolerance=EXACT):
    assert len(got) == len(expected)
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance)


# -- exact ------------------------------------------------------------------------------------------------------------


@few
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.integers(2, 5), min_size=1, max_size=3).filter(lambda sizes: np.prod(sizes) <= 30),
    x_channels=st.integers(1, 3),
    y_channels=st.integers(1, 3),
)
def test_every_coefficient_is_that_of_the_flattened_maps(seed, sizes, x_channels, y_channels):
    layers = Layers(seed, sizes, x_channels, y_channels)
    same(result_of(layers).correlations, flattened(layers))


@pytest.mark.parametrize(
    ("sizes", "strides"),
    [
        ((8,), (1, 2)),
        ((8,), (4, 1)),
        ((8,), (2, 4)),
        ((12,), (1, 4)),
        ((6,), (2, 1)),  # an odd small size
        ((6, 6), (1, 2)),
        ((4, 4), (2, 1)),
        ((8, 4), (1, 4)),
        ((4, 6), (2, 1)),
        ((2, 4, 2), (1, 2)),
        ((4, 2, 2), (2, 1)),
    ],
)
@pytest.mark.parametrize("channels", [(1, 1), (2, 3), (3, 2)])
def test_aliases_of_a_larger_map_are_stacked_exactly(sizes, strides, channels):
    layers = Layers(1, sizes, *channels, *strides, n=30)
    same(result_of(layers, phases=max(strides)).correlations, flattened(layers))


@pytest.mark.parametrize(("sizes", "stride"), [((8,), 2), ((9,), 3), ((8,), 4), ((6, 4), 2), ((4, 4, 2), 2)])
def test_phases_make_strided_layers_of_one_size_exact(sizes, stride):
    layers = Layers(2, sizes, 2, 3, stride, stride, n=30)
    same(result_of(layers, phases=stride).correlations, flattened(layers))


def test_without_phases_a_strided_layer_is_an_approximation():
    layers = Layers(2, (8,), 2, 3, 2, 2)
    assert np.abs(result_of(layers).correlations - flattened(layers)).max() > 1e-3


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("by", ["x", "y"])
def test_the_svd_step_is_taken_over_all_frequencies_together(share, by):
    layers = Layers(3, (4, 4), 2, 3)
    got = result_of(layers, retained_variance=share)
    x, y = (flat(maps) for maps in layers.over(closed(layers.images)))
    # Where the share falls between a frequency and its negative, both are kept: the number of directions tells.
    ranks = [svcca(maps, maps, retained_variance=share).x_rank for maps in (x, y)]
    assert 0 <= got.x_rank - ranks[0] <= 1
    assert 0 <= got.y_rank - ranks[1] <= 1
    bases = [ref.basis(maps, rank)[0] for maps, rank in ((x, got.x_rank), (y, got.y_rank))]
    same(got.correlations, np.linalg.svd(bases[0].T @ bases[1], compute_uv=False))


def test_components_are_counted_over_all_frequencies():
    layers = Layers(3, (4, 4), 2, 3)
    got = result_of(layers, n_components=7)
    assert got.x_rank in (7, 8)
    assert len(got.correlations) == min(got.x_rank, got.y_rank)
    with pytest.raises(InputError, match=r"n_components: expected at most 32, the layer's rank; got 33"):
        result_of(layers, n_components=33)


# PWCCA in absolute values depends on the basis of the units. Where a frequency and its negative meet at one of the
# smaller map, so does weighted SVCCA: their singular values are equal, and any directions between them are as good.
CASES = [
    (measure.label, strides)
    for measure in EVERY.values()
    for strides in [(1, 1), (1, 2), (2, 1)]
    if measure.by_frequency
    and (not measure.name.startswith("pwcca") or measure.label == "pwcca(squared=True)")
    and (not measure.name.startswith("svcca_weighted") or strides == (1, 1))
]


@pytest.mark.parametrize(("measure", "strides"), CASES)
@pytest.mark.parametrize("share", [0.9, 1.0])
@quiet
def test_every_measure_is_that_of_the_flattened_maps(measure, strides, share):
    layers = Layers(4, (4, 4), 2, 3, *strides)
    got = result_of(layers, phases=max(strides), retained_variance=share)
    x, y = (flat(maps) for maps in layers.over(closed(layers.images)))
    if EVERY[measure].svd_step:  # the same directions, kept outright
        result = result_of(layers, phases=max(strides), retained_variance=share)
        expected = _cut(measure, x, y, result.x_rank, result.y_rank)
    else:
        expected = similarities(x, y, [EVERY[measure]])[measure].similarity
    assert got.evaluate(EVERY[measure]).similarity == pytest.approx(expected, abs=EXACT)


def _cut(measure, x, y, x_rank, y_rank):
    from svcca.core.coherence import Coherence

    whole = Coherence.from_moments(JointMoments.from_rows(x, y))
    cut = Coherence(
        whole.x.truncate(SVDStep(n_components=x_rank)),
        whole.y.truncate(SVDStep(n_components=y_rank)),
        whole.matrix[:x_rank, :y_rank],
    )
    return EVERY[measure].value(cut)


def test_pwcca_weighs_by_the_channels_spectra():
    layers = Layers(5, (4, 3), 2, 3)
    got = result_of(layers).evaluate("pwcca").similarity
    x, y = layers.over(closed(layers.images))
    spectra = [np.fft.fft2(maps - maps.mean(axis=(0, 2, 3), keepdims=True), norm="ortho") for maps in (x, y)]
    weights, rho = [], []
    for k in itertools.product(*(range(size) for size in x.shape[2:])):
        at_k = [each[(slice(None), slice(None), *k)] for each in spectra]
        bases = [np.linalg.svd(each, full_matrices=False)[0] for each in at_k]
        a, values, _ = np.linalg.svd(bases[0].conj().T @ bases[1])
        variates = bases[0] @ a[:, : len(values)]
        weights.append(np.abs(at_k[0].conj().T @ variates).sum(axis=0))
        rho.append(values)
    expected = (np.concatenate(weights) * np.concatenate(rho)).sum() / np.concatenate(weights).sum()
    assert got == pytest.approx(expected, abs=EXACT)


def test_covariances_are_those_of_pls_on_the_flattened_maps():
    layers = Layers(6, (4, 4), 2, 3)
    x, y = (flat(maps) for maps in layers.over(closed(layers.images)))
    cross = (x - x.mean(axis=0)).T @ (y - y.mean(axis=0)) / (len(layers.images) - 1)
    same(result_of(layers).covariances, np.linalg.svd(cross, compute_uv=False) / 16, 1e-12 * 100)


@pytest.mark.parametrize(
    ("sizes", "strides"),
    [(sizes, strides) for sizes in [(4,), (6,), (4, 4)] for strides in [(1, 1), (1, 2), (2, 1)]]
    + [((2, 3, 2), (1, 1))],
)
def test_filters_give_variates_of_unit_variance_with_these_correlations(sizes, strides):
    layers = Layers(7, sizes, 2, 3, *strides)
    got = result_of(layers, phases=max(strides))
    x_filters, y_filters = got.x_filters(6), got.y_filters(6)
    variates = []
    for maps, filters in zip(layers.over(closed(layers.images)), (x_filters, y_filters), strict=True):
        centred = maps - maps.mean(axis=(0, *axes(maps)), keepdims=True)
        variates.append(flat(centred) @ flat(filters.filters).T)
    u, v = variates
    n = len(layers.images) * max(strides) ** len(sizes)
    deviation = np.sqrt((u**2).mean(axis=0) * (v**2).mean(axis=0))
    same((u * v).mean(axis=0) / deviation, x_filters.correlations)
    zero = ~x_filters.frequencies.any(axis=1)
    np.testing.assert_allclose((u**2).mean(axis=0), np.where(zero, (n - 1) / n, 1.0), atol=EXACT)
    largest = np.abs(flat(x_filters.filters)).max(axis=1)
    np.testing.assert_allclose(flat(x_filters.filters).max(axis=1), largest, rtol=1e-12)
    assert list(x_filters.correlations) == sorted(x_filters.correlations, reverse=True)


def test_a_map_of_similarities_by_frequency_shows_where_two_layers_agree():
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(300, 2, 6, 5)), rng.normal(size=(300, 2, 6, 5))
    frequencies = np.add.outer(np.abs(np.fft.fftfreq(6)), np.abs(np.fft.fftfreq(5)))
    low = frequencies < 0.3
    y = np.fft.ifft2(np.where(low, np.fft.fft2(x), np.fft.fft2(noise))).real
    got = fourier_cca(x, y, retained_variance=1.0).frequency_map
    assert got.shape == (6, 5)
    assert not got.mask.any()
    np.testing.assert_allclose(got[low], 1.0, atol=1e-10)
    assert got[~low].max() < 0.3


def test_frequencies_that_are_not_kept_are_masked():
    x = np.random.default_rng(0).normal(size=(200, 2, 8))
    smooth = np.fft.irfft(np.fft.rfft(x) * (np.arange(5) < 2), n=8)
    got = fourier_cca(smooth, x).frequency_map
    assert got.mask.tolist() == [False, False, True, True, True, True, True, False]


# -- approximations that must not be taken for the truth --------------------------------------------------------------


def test_cropping_aliases_is_another_number():
    layers = Layers(8, (8, 8), 2, 2, 1, 2, n=60)
    exact = result_of(layers, phases=2)
    cropped = result_of(layers, phases=2, resize="crop")
    same(exact.correlations, flattened(layers))
    assert exact.similarity - cropped.similarity > 0.2
    assert any("cropped" in doubt.text for doubt in cropped.warnings)


def test_centring_every_frequency_is_another_number():
    rng = np.random.default_rng(9)
    pattern = 2 * rng.normal(size=(1, 2, 4, 4))  # a mean that differs between positions
    layers = Layers(9, (4, 4), 2, 2, n=30)
    layers.images[:, :2] += pattern
    exact = flattened(layers)
    same(result_of(layers).correlations, exact)
    x, y = (np.fft.fft2(maps, norm="ortho") for maps in layers.over(layers.images))
    every = []
    for k in itertools.product(range(4), range(4)):
        at_k = [each[(slice(None), slice(None), *k)] for each in (x, y)]
        bases = [np.linalg.svd(each - each.mean(axis=0), full_matrices=False)[0] for each in at_k]
        every.append(np.linalg.svd(bases[0].conj().T @ bases[1], compute_uv=False))
    assert abs(np.mean(every) - exact.mean()) > 0.005


@quiet
def test_crop_pairs_signed_frequencies_and_leaves_out_the_nyquist_line():
    rng = np.random.default_rng(10)
    x = rng.normal(size=(100, 2, 7))
    spectrum = np.fft.rfft(x)
    y = np.fft.irfft(spectrum[:, :, :4] * [1, 2, 3, 0], n=6)  # the frequencies that 7 and 6 have in common
    got = fourier_cca(x, y, retained_variance=1.0, resize="crop")
    same(got.correlations, np.ones(2 * 5), 1e-9)


def test_interpolation_resizes_the_smaller_map():
    rng = np.random.default_rng(11)
    x, y = rng.normal(size=(60, 2, 6, 6)), rng.normal(size=(60, 2, 4, 4))
    by_hand = torch.nn.functional.interpolate(torch.from_numpy(y), size=(6, 6), mode="bilinear").numpy()
    got = fourier_cca(x, y, resize="interpolate")
    same(got.correlations, fourier_cca(x, by_hand).correlations, 1e-9)


# -- maps against vectors ---------------------------------------------------------------------------------------------


@quiet
@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("shape", [(), (1, 1)])
def test_a_vector_compares_with_the_means_of_a_map(swap, shape):
    rng = np.random.default_rng(12)
    x = rng.normal(size=(80, 4, 5, 6)) + rng.normal(size=(80, 4, 1, 1))
    y = x.mean(axis=(2, 3)) @ rng.normal(size=(4, 3)) + rng.normal(size=(80, 3))
    expected = ref.correlations(x.mean(axis=(2, 3)), y)
    pair = (x, y.reshape(80, 3, *shape))
    got = fourier_cca(*(reversed(pair) if swap else pair), retained_variance=1.0)
    same(got.correlations, expected)
    maps, vectors = (got.y_filters(2), got.x_filters(2)) if swap else (got.x_filters(2), got.y_filters(2))
    assert maps.filters.shape == (2, 4, 5, 6)
    u = flat(x - x.mean(axis=(0, 2, 3), keepdims=True)) @ flat(maps.filters).T
    v = (y - y.mean(axis=0)) @ flat(vectors.filters).T
    correlation = (u * v).sum(axis=0) / np.sqrt((u**2).sum(axis=0) * (v**2).sum(axis=0))
    np.testing.assert_allclose(correlation, expected[:2], atol=EXACT)
    assert got.frequency_map.shape == ()


def test_a_map_whose_mean_was_cut_away_cannot_be_compared_with_a_vector():
    rng = np.random.default_rng(13)
    x = rng.normal(size=(50, 2, 4))
    x += 1e-3 * rng.normal(size=(50, 2, 1)) - x.mean(axis=2, keepdims=True)
    with pytest.raises(RankError, match="kept directions at a frequency that both layers have; got none"):
        fourier_cca(x, rng.normal(size=(50, 3)), retained_variance=0.5)


# -- invariance -------------------------------------------------------------------------------------------------------


@few
@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([1e-8, 1.0, 1e8]), offset=st.floats(-100, 100))
def test_scale_offset_and_channel_mixing_change_nothing(seed, scale, offset):
    layers = Layers(seed, (4, 3), 2, 3)
    x, y = layers.over(layers.images)
    mixed = np.einsum("io,ni...->no...", ref.invertible(np.random.default_rng(seed), 2), x)
    expected = fourier_cca(x, y, retained_variance=1.0).correlations
    got = fourier_cca(scale * (mixed + offset), y, retained_variance=1.0).correlations
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-9)


def test_the_same_maps_are_as_similar_as_can_be():
    x = Layers(0, (4, 4), 3, 1).over(Layers(0, (4, 4), 3, 1).images)[0]
    result = fourier_cca(x, np.roll(x, (1, 2), (2, 3)))
    assert result.similarity == pytest.approx(1.0, abs=1e-12)
    for name in ("pwcca", "linear_cka", "procrustes", "svcca_weighted", "linear_regression_r2"):
        assert result.evaluate(name).similarity == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("sizes", [[1] * 40, [40], [3, 30, 7]])
def test_batches_change_nothing(sizes):
    layers = Layers(14, (4, 4), 2, 3, 1, 2)
    x, y = (torch.from_numpy(maps) for maps in layers.over(layers.images))
    accumulator, start = FourierAccumulator(), 0
    for size in sizes:
        accumulator.update([x[start : start + size]], [y[start : start + size]])
        start += size
    got = accumulator.finish(["x", "y"], SVDStep(1.0), constant_allowed=[False, False]).pair(0, 0)
    same(got.correlations.numpy(), result_of(layers).correlations, 1e-11)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float16", 5e-3), ("bfloat16", 3e-2)])
def test_maps_of_less_precision(dtype, tolerance):
    x, y = (torch.from_numpy(maps) for maps in Layers(15, (4, 4), 2, 3).over(Layers(15, (4, 4), 2, 3).images))
    expected = fourier_cca(x, y, retained_variance=1.0)
    got = fourier_cca(x.to(getattr(torch, dtype)), y.to(getattr(torch, dtype)), retained_variance=1.0)
    same(got.correlations, expected.correlations, tolerance)


def test_a_large_mean_costs_float32_maps_no_digit():
    x, y = (torch.from_numpy(maps) for maps in Layers(16, (4, 4), 2, 3).over(Layers(16, (4, 4), 2, 3).images))
    offset = (x * 2**-3).round(decimals=2).float() + 3000  # what float32 holds of it is the data
    expected = fourier_cca(offset.double(), y, retained_variance=1.0)
    got = fourier_cca(offset, y, retained_variance=1.0)
    same(got.correlations, expected.correlations, 1e-5)


def test_channels_last_is_the_same():
    x, y = Layers(17, (4, 3), 2, 3).over(Layers(17, (4, 3), 2, 3).images)
    got = fourier_cca(np.moveaxis(x, 1, -1), np.moveaxis(y, 1, -1), channels_last=True)
    same(got.correlations, fourier_cca(x, y).correlations, 1e-13)


def test_dead_channels_take_no_part():
    x, y = Layers(18, (4, 4), 2, 3).over(Layers(18, (4, 4), 2, 3).images)
    dead = np.concatenate([x, np.full_like(x, 0.1)], axis=1)
    got, expected = (fourier_cca(maps, y, retained_variance=1.0) for maps in (dead, x))
    assert got.x_rank == expected.x_rank
    same(got.correlations, expected.correlations)


# -- chance -----------------------------------------------------------------------------------------------------------


@quiet
@pytest.mark.parametrize(
    "measure", ["cca", "r2_cca", "linear_cka", "procrustes", "linear_regression_r2", "svcca_weighted"]
)
def test_the_chance_level_is_what_unrelated_maps_give(measure):
    rng = np.random.default_rng(19)
    got, level = [], []
    for _ in range(12):
        x, y = rng.normal(size=(60, 6, 4, 4)), rng.normal(size=(60, 4, 4, 4))
        value = fourier_cca(x, y, retained_variance=1.0).evaluate(measure)
        got.append(value.similarity)
        level.append(value.chance)
    assert np.mean(got) == pytest.approx(np.mean(level), rel=0.03)


@pytest.mark.parametrize(("p", "q"), [(1, 5), (4, 6), (20, 30)])
def test_the_mean_correlation_of_complex_noise(p, q):
    rng = np.random.default_rng(20)
    got = []
    for _ in range(600):
        x, y = (rng.normal(size=(100, k)) + 1j * rng.normal(size=(100, k)) for k in (p, q))
        bases = [np.linalg.qr(each)[0] for each in (x, y)]
        got.append(np.linalg.svd(bases[0].conj().T @ bases[1], compute_uv=False).mean())
    assert np.mean(got) == pytest.approx(chance.cca_mean(p, q, 101, complex_valued=True), rel=0.01)


def test_fewer_samples_than_channels_are_warned_of_with_the_number_of_forced_correlations():
    rng = np.random.default_rng(21)
    with pytest.warns(SvccaWarning, match=r"\d+ of \d+ canonical correlations are 1 whatever the layers hold"):
        result = fourier_cca(rng.normal(size=(12, 8, 4, 4)), rng.normal(size=(12, 8, 4, 4)))
    assert "directions apart at one spatial frequency" in result.warnings[0].text
    assert result.chance > 0.7


def test_a_high_chance_level_is_warned_of():
    rng = np.random.default_rng(22)
    with pytest.warns(SvccaWarning, match="unrelated layers would already give"):
        fourier_cca(rng.normal(size=(40, 8, 4, 4)), rng.normal(size=(40, 8, 4, 4)))


# -- refused ----------------------------------------------------------------------------------------------------------


def maps(*shape):
    return np.random.default_rng(0).normal(size=shape)


def test_two_vectors_belong_to_svcca():
    with pytest.raises(InputError, match=r"two arrays \(n_samples, n_features\). Use svcca.svcca"):
        fourier_cca(maps(20, 3), maps(20, 3))


def test_sizes_that_do_not_divide_need_a_named_approximation():
    with pytest.raises(InputError, match=r"got 6 x 6 and 4 x 4.*resize='crop'.*'interpolate'"):
        fourier_cca(maps(20, 2, 6, 6), maps(20, 2, 4, 4))
    with pytest.raises(InputError, match="got 6 x 4 and 3 x 8"):
        fourier_cca(maps(20, 2, 6, 4), maps(20, 2, 3, 8))


def test_maps_of_other_kinds_do_not_compare():
    with pytest.raises(InputError, match="as many spatial axes on both sides; got 4 x 4 and 4"):
        fourier_cca(maps(20, 2, 4, 4), maps(20, 2, 4))


@pytest.mark.parametrize(
    ("bad", "error", "text"),
    [
        (np.zeros((20, 2, 4, 4), dtype=np.int64), InputError, "floating-point activations; got dtype int64"),
        (maps(20, 2, 4, 4) * 1j, InputError, "real maps; got dtype complex128"),
        (np.full((20, 2, 4, 4), np.nan), NonFiniteError, "NaN"),
        (np.ones((20, 2, 4, 4)), RankError, "constant"),
        (maps(20), InputError, r"maps \(n_samples, n_channels, \*sizes\)"),
        (maps(20, 2, 0, 4), InputError, "at least one channel and position"),
        (maps(19, 2, 4, 4), SampleError, "19 and 20 rows"),
    ],
)
def test_what_are_no_maps_is_refused(bad, error, text):
    with pytest.raises(error, match=text):
        fourier_cca(bad, maps(20, 2, 4, 4))


def test_one_sample_is_refused():
    with pytest.raises(SampleError, match="at least 2 samples"):
        fourier_cca(maps(1, 2, 4), maps(1, 2, 4))


@quiet
def test_unknown_choices_list_the_known():
    with pytest.raises(UnknownOptionError, match="crop"):
        fourier_cca(maps(20, 2, 4), maps(20, 2, 4), resize="cut")
    with pytest.raises(UnknownOptionError, match="observe='fourier'"):
        fourier_cca(maps(20, 2, 4), maps(20, 2, 4)).evaluate("linear_cka_debiased")
    with pytest.raises(UnknownOptionError):
        fourier_cca(maps(20, 2, 4), maps(20, 2, 4)).evaluate("svca")


@pytest.mark.parametrize("solver", ["eigh", "svdvals"])
def test_a_solver_that_fails_once_changes_nothing_and_is_recorded(monkeypatch, solver):
    x, y = Layers(23, (4, 4), 2, 3).over(Layers(23, (4, 4), 2, 3).images)
    expected = fourier_cca(x, y)
    original, calls = getattr(torch.linalg, solver), []

    def once(matrix, **options):
        calls.append(matrix)
        if len(calls) == 1:
            raise torch.linalg.LinAlgError("failed to converge")
        return original(matrix, **options)

    monkeypatch.setattr(torch.linalg, solver, once)
    with pytest.warns(SvccaWarning, match="did not converge; each was taken alone"):
        got = fourier_cca(x, y)
    same(got.correlations, expected.correlations)
    assert len(calls) > 1


def test_conv_is_the_circular_one():
    images, kernel = maps(3, 2, 5, 4), maps(3, 2, 2, 2)
    padded = torch.nn.functional.pad(torch.from_numpy(images), (0, 1, 0, 1), mode="circular")
    expected = torch.nn.functional.conv2d(padded, torch.from_numpy(kernel)).numpy()
    np.testing.assert_allclose(conv(images, kernel), expected, atol=1e-12)


# -- what mutations of the code got away with before ------------------------------------------------------------------


@pytest.mark.parametrize("n", [500, 16_000])
def test_the_rank_is_the_true_one_however_many_samples(n):
    rng = np.random.default_rng(25)
    x = np.einsum("nc...,cd->nd...", rng.normal(size=(n, 3, 6, 6)), rng.normal(size=(3, 8)))
    assert fourier_cca(x, x[:, :4], retained_variance=1.0).x_rank == 3 * 36


def test_rounding_of_float32_maps_is_no_direction():
    rng = np.random.default_rng(26)
    x = np.einsum("nc...,cd->nd...", rng.normal(size=(300, 2, 4, 4)), rng.normal(size=(2, 6)))
    assert fourier_cca(torch.from_numpy(x).float(), x, retained_variance=1.0).x_rank == 2 * 16


def test_what_differs_by_the_rounding_of_a_large_mean_is_no_direction():
    varying = 10 * np.random.default_rng(27).normal(size=(300, 4, 4))
    x = np.stack([1e6 + varying, 3e6 + 3 * varying], axis=1).astype(np.float32)
    assert np.ptp(x[:, 1] - 3 * x[:, 0]) > 0
    assert fourier_cca(x, x[:, :1], retained_variance=1.0).x_rank == 16


def test_the_fewest_directions_that_reach_a_number_are_kept():
    x = np.random.default_rng(28).normal(size=(100, 2, 5)) + 9 * np.random.default_rng(29).normal(size=(100, 2, 1))
    whole = fourier_cca(x, x, retained_variance=1.0)
    assert [fourier_cca(x, x, n_components=k).x_rank for k in (1, 2, 10)] == [1, 2, 10]
    assert fourier_cca(x, x, n_components=3).x_rank == 4  # a frequency and its negative
    assert whole.x_rank == 10


def test_the_share_may_be_of_the_singular_values():
    layers = Layers(30, (4, 4), 2, 3)
    x, y = (torch.from_numpy(maps) for maps in layers.over(layers.images))
    accumulator = FourierAccumulator()
    accumulator.update([x], [y])
    whole = accumulator.finish(["x", "y"], SVDStep(1.0), constant_allowed=[False, False]).rows[0]
    cut = whole.truncate(SVDStep(0.7, by="singular_values"))
    s = np.linalg.svd(ref.centred(flat(layers.x(closed(layers.images)))), compute_uv=False)
    expected = int((np.cumsum(s[:32]) < 0.7 * s[:32].sum()).sum()) + 1
    assert 0 <= cut.rank - expected <= 1
    assert cut.nuclear_norm == pytest.approx(whole.nuclear_norm)
    assert cut.truncate(SVDStep(0.7, by="singular_values")).rank == cut.rank


@quiet
def test_a_vector_has_the_chance_level_of_the_means():
    rng = np.random.default_rng(31)
    x, y = rng.normal(size=(30, 4, 3, 3)), rng.normal(size=(30, 2))
    result = fourier_cca(x, y, retained_variance=1.0)
    assert result.chance == pytest.approx(chance.cca_mean(4, 2, 30), abs=1e-12)


def test_the_frequency_map_is_the_mean_over_the_smaller_rank():
    rng = np.random.default_rng(32)
    x = rng.normal(size=(100, 2, 6))
    y = np.concatenate([x, rng.normal(size=(100, 2, 6))], axis=1)
    np.testing.assert_allclose(fourier_cca(x, y, retained_variance=1.0).frequency_map, np.ones(6), atol=1e-10)


@quiet
def test_cropped_frequencies_of_either_sign_are_paired():
    rng = np.random.default_rng(33)
    x, y = rng.normal(size=(40, 2, 6, 6)), rng.normal(size=(40, 2, 5, 8))
    spectra = [np.fft.fft2(maps - maps.mean(axis=(0, 2, 3), keepdims=True)) for maps in (x, y)]
    expected = []
    for k in itertools.product(range(-2, 3), range(-2, 3)):
        bases = [np.linalg.svd(each[:, :, k[0], k[1]], full_matrices=False)[0] for each in spectra]
        expected.append(np.linalg.svd(bases[0].conj().T @ bases[1], compute_uv=False))
    got = fourier_cca(x, y, retained_variance=1.0, resize="crop").correlations
    same(got, np.sort(np.concatenate(expected))[::-1])


@quiet
def test_layers_of_two_precisions_keep_their_own():
    x, y = Layers(34, (4, 4), 2, 3).over(Layers(34, (4, 4), 2, 3).images)
    alone = fourier_cca(x, y, retained_variance=1.0).correlations
    double, single = torch.from_numpy(x), torch.from_numpy(x).float()
    accumulator = FourierAccumulator()
    accumulator.update([single, double], [torch.from_numpy(y)])
    grid = accumulator.finish(["a", "b", "c"], SVDStep(1.0), constant_allowed=[False] * 3)
    same(grid.pair(1, 0).correlations.numpy(), alone, 1e-12)


def test_forced_correlations_are_no_more_than_there_are():
    rng = np.random.default_rng(35)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SvccaWarning)
        doubts = fourier_cca(rng.normal(size=(3, 4, 8)), rng.normal(size=(3, 2, 2))).warnings
    (note,) = (doubt.text for doubt in doubts if doubt.kind == "forced")
    forced, total = (int(word) for word in note.removeprefix("x and y: ").split()[:3:2])
    assert 0 < forced <= total


@pytest.mark.parametrize("n_filters", [0, -1, 2.5])
def test_filters_are_counted(n_filters):
    result = fourier_cca(maps(40, 2, 4), maps(40, 2, 4))
    with pytest.raises(InputError, match="n_filters as a positive integer"):
        result.x_filters(n_filters)


# -- on a GPU ---------------------------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("strides", [(1, 1), (1, 2), (2, 1)])
def test_a_gpu_gives_the_same(strides):
    layers = Layers(24, (4, 4), 2, 3, *strides)
    here = [torch.from_numpy(maps) for maps in layers.over(shifted(layers.images, 2))]
    there = [maps.cuda() for maps in here]
    expected, got = (fourier_cca(*pair, retained_variance=1.0) for pair in (here, there))
    same(got.correlations, expected.correlations)
    np.testing.assert_allclose(got.frequency_map, expected.frequency_map, atol=EXACT)
    np.testing.assert_allclose(np.abs(got.x_filters(3).filters), np.abs(expected.x_filters(3).filters), atol=1e-6)
    for name in ("pwcca", "linear_cka", "procrustes", "svcca_weighted", "linear_regression_r2"):
        assert got.evaluate(name).similarity == pytest.approx(expected.evaluate(name).similarity, abs=EXACT)
    gaps = (translation_gap(maps) for maps in (here[0], there[0]))
    assert next(gaps).before == pytest.approx(next(gaps).before, abs=1e-9)
