"""`compare(observe="fourier")` on live conv nets: what each pair gives, phases, sizes, names in errors."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import svcca
from live_bytes import LiveBytes
from shifts import shifted
from svcca.errors import InputError, SvccaWarning, UnknownOptionError
from svcca.measures import PWCCA, WeightedSVCCA

pytestmark = pytest.mark.filterwarnings("ignore::svcca.errors.SvccaWarning")
IMAGES = torch.randn(90, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def net(seed, width=3):
    torch.manual_seed(seed)

    def conv(c_in, c_out):
        return nn.Conv2d(c_in, c_out, 3, padding=1, padding_mode="circular")

    layers = [conv(3, width), nn.ReLU(), nn.AvgPool2d(2), conv(width, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(4, 5)).double().eval()


NAMES = ["0", "1", "2", "3", "6"]


def outputs(model, images=IMAGES):
    with torch.no_grad():
        return {str(i): model[: i + 1](images).numpy() for i in map(int, NAMES)}


def compared(*networks, observe="fourier", **options):
    return svcca.compare(*networks, observe=observe, layers=NAMES, progress=False, **options)


def test_every_pair_is_what_the_call_on_its_maps_gives():
    a, b = net(0), net(1, width=2)
    matrix = compared(a, b, torch.split(IMAGES, 32))
    left, right = outputs(a), outputs(b)
    for i, row in enumerate(NAMES):
        for j, column in enumerate(NAMES):
            if left[row].ndim == right[column].ndim == 2:
                expected = svcca.svcca(left[row], right[column]).similarity
            else:
                expected = svcca.fourier.fourier_cca(left[row], right[column]).similarity
            assert matrix.values[i, j] == pytest.approx(expected, abs=1e-9), (row, column)
    assert matrix.n_samples == 90
    assert matrix.rows[0].observation == "fourier (3 channels, 8 x 8)"
    assert matrix.rows[0].n_features == 3 * 64
    assert (matrix.rows[0].n_frequencies, matrix.rows[4].n_frequencies) == (64, 1)


def test_several_measures_come_from_one_pass():
    names = ["svcca", "cca", "linear_cka", "procrustes", "pwcca", "linear_regression_r2"]
    measures = [*names, WeightedSVCCA(side="y")]
    a, b = net(0), net(1)
    found = compared(a, b, IMAGES, measure=measures)
    x, y = outputs(a)["1"], outputs(b)["2"]
    result = svcca.fourier.fourier_cca(x, y)
    assert list(found) == [*names, "svcca_weighted(side='y')"]
    for measure, matrix in zip(measures, found.values(), strict=True):
        assert matrix.values[1, 2] == pytest.approx(result.evaluate(measure).similarity, abs=1e-9), measure
        assert matrix.chance[1, 2] == pytest.approx(result.evaluate(measure).chance, abs=1e-9), measure


def test_a_network_with_itself():
    matrix = compared(net(0), None, IMAGES)
    np.testing.assert_allclose(np.diag(matrix.values), 1.0, atol=1e-9)
    np.testing.assert_allclose(matrix.values, matrix.values.T, atol=0)
    np.testing.assert_allclose(matrix.values, compared(net(0), net(0), IMAGES).values, atol=1e-9)


def test_asymmetric_measures_of_a_network_with_itself_are_those_of_two_copies():
    measures = ["linear_regression_r2", PWCCA(side="x"), "svcca_weighted"]
    alone, twice = (compared(net(0), other, IMAGES, measure=measures) for other in (None, net(0)))
    for label in alone:
        np.testing.assert_allclose(alone[label].values, twice[label].values, atol=1e-9)
    regression = alone["linear_regression_r2"].values
    assert np.abs(regression - regression.T).max() > 0.01


def test_phases_feed_every_shift_of_the_images():
    a, b = net(0), net(1)
    got = compared(a, b, [(part, torch.zeros(len(part))) for part in IMAGES.split(30)], observe=svcca.Fourier(phases=2))
    by_hand = compared(a, b, torch.from_numpy(shifted(IMAGES.numpy(), 2)))
    np.testing.assert_allclose(got.values, by_hand.values, atol=1e-9)
    assert got.n_samples == 4 * 90
    assert got.rows[0].observation.endswith("2 phases an axis)")


def test_phases_shift_the_images_of_a_dict_and_need_images():
    class Takes(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net(0)

        def forward(self, pixel_values, scale):
            return self.net(pixel_values * scale)

    batches = [{"pixel_values": part, "scale": torch.ones(())} for part in IMAGES.split(45)]
    got = svcca.compare(Takes(), None, batches, layers=["net.2"], observe=svcca.Fourier(phases=2), progress=False)
    assert got.n_samples == 360
    with pytest.raises(InputError, match=r"batch 0: expected images .* to shift for phases; got none"):
        svcca.compare(nn.Linear(3, 2), None, torch.randn(20, 3), observe=svcca.Fourier(phases=2), progress=False)
    with pytest.raises(InputError, match="live models, which can be run on shifted inputs; got captured activations"):
        svcca.compare({"a": IMAGES}, None, observe=svcca.Fourier(phases=2))


def test_phases_of_one_axis_and_no_more_than_there_are_positions():
    sound = torch.randn(60, 2, 8, generator=torch.Generator().manual_seed(1))
    model = nn.Conv1d(2, 3, 3, stride=2, padding=1, padding_mode="circular")
    matrix = svcca.compare(model, None, sound, observe=svcca.Fourier(phases=2), progress=False)
    assert matrix.n_samples == 120
    assert "Each image counts once for each of its shifts by 0 to 1 positions" in matrix.warnings[-1].text
    with pytest.raises(InputError, match="images of at least 9 positions an axis, as many as phases; got size 8"):
        svcca.compare(model, None, sound, observe=svcca.Fourier(phases=9), progress=False)


def test_the_furthest_layer_is_named_with_the_number_of_others():
    x = np.random.default_rng(0).normal(size=(300, 2, 6, 6))
    ramp, edge = x + 2 * (np.arange(6) == 0), x + 20 * (np.arange(6) == 0)
    notes = svcca.compare({"fine": x, "ramp": ramp, "edge": edge}, observe="fourier").warnings
    assert any(note.text.startswith("a 'edge': ") and note.text.endswith("for 1 other layer.") for note in notes)


@pytest.mark.parametrize(("spare", "enough"), [(0, True), (-1, False)])
def test_the_budget_is_that_of_the_moments(spare, enough):
    needed = 16 * 10 * 3 * 3  # 10 kept frequencies of 4 x 4, 3 x 3 complex numbers each: rows and columns are one
    needed += 16 * 10 * 3 * 3
    maps = {"conv": IMAGES[:, :, :4, :4]}
    if enough:
        svcca.compare(maps, observe="fourier", memory_budget=needed + spare)
    else:
        with pytest.raises(InputError, match="a memory budget"):
            svcca.compare(maps, observe="fourier", memory_budget=needed + spare)


def test_maps_are_captured_saved_and_compared_later(tmp_path):
    a, b = net(0), net(1)
    for name, model in (("a", a), ("b", b)):
        maps = svcca.activations(model, IMAGES, layers=NAMES, observe="fourier", progress=False)
        assert maps["0"].shape == (90, 3, 8, 8)
        svcca.save_activations(tmp_path / f"{name}.npz", maps)
    later = compared(tmp_path / "a.npz", tmp_path / "b.npz")
    np.testing.assert_allclose(later.values, compared(a, b, IMAGES).values, atol=1e-9)


def test_channels_last_layers():
    maps = outputs(net(0))
    moved = {name: np.moveaxis(each, 1, -1) for name, each in maps.items() if each.ndim == 4}
    rule = svcca.Fourier(channels_last=True)
    got = svcca.compare(moved, observe=rule)
    expected = svcca.compare({name: maps[name] for name in moved}, observe="fourier")
    np.testing.assert_allclose(got.values, expected.values, atol=1e-12)
    assert got.rows == expected.rows


def test_sizes_that_do_not_fit_are_named_with_their_layers():
    a = {"conv": IMAGES, "odd": IMAGES[:, :, :5, :5]}
    with pytest.raises(InputError, match=r"a 'conv' and a 'odd': expected maps of equal sizes.*got 8 x 8 and 5 x 5"):
        svcca.compare(a, observe="fourier")
    for resize in ("crop", "interpolate"):
        matrix = svcca.compare(a, observe=svcca.Fourier(resize=resize))
        np.testing.assert_allclose(np.diag(matrix.values), 1.0, atol=1e-9)
    assert any("cropped" in note.text for note in svcca.compare(a, observe=svcca.Fourier(resize="crop")).warnings)


def test_interpolated_maps_are_those_of_the_call():
    a, b = IMAGES, IMAGES[:, :, :5, :5]
    got = svcca.compare({"a": a}, {"b": b}, observe=svcca.Fourier(resize="interpolate")).values[0, 0]
    assert got == pytest.approx(svcca.fourier.fourier_cca(a, b, resize="interpolate").similarity, abs=1e-9)


def test_vectors_alone_and_measures_that_are_not_defined_are_refused():
    with pytest.raises(InputError, match=r"a layer of maps .*; got vectors only. Use observe='flatten'"):
        svcca.compare({"fc": IMAGES[:, :, 0, 0]}, observe="fourier")
    with pytest.raises(UnknownOptionError, match="observe='fourier'"):
        svcca.compare({"conv": IMAGES}, observe="fourier", measure="cca_top")


def test_more_moments_than_the_budget_are_refused_before_they_are_summed():
    with pytest.raises(
        InputError, match=r"a memory budget of 1e-06 GB to be enough; got .* GB of moments by frequency"
    ):
        svcca.compare({"conv": IMAGES}, observe="fourier", memory_budget=1000)


def test_a_map_that_changes_its_size_between_batches_is_named():
    batches = [IMAGES[:40], IMAGES[40:, :, :6, :6]]
    with pytest.raises(InputError, match=r"'0', batch 1: expected 3 x 8 x 8 features.*got 3 x 6 x 6"):
        svcca.compare(net(0), None, batches, layers=["0"], observe="fourier", progress=False)


def test_constant_and_nan_layers():
    maps = outputs(net(0))
    with pytest.raises(InputError, match=r"'bad'.*NaN"):
        svcca.compare({"conv": maps["0"], "bad": np.full_like(maps["0"], np.nan)}, observe="fourier")
    dead = nn.Sequential(net(0)[0], nn.Threshold(100, 0.5)).double()
    matrix = svcca.compare(dead, None, IMAGES, observe="fourier", progress=False)
    assert matrix.row_labels == ("0",)
    assert "left out, since they are constant over all samples: 1" in matrix.warnings[0].text


def test_the_gap_is_recorded_warned_of_saved_and_shown(tmp_path):
    padded = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1)).double()
    with torch.no_grad():
        padded[0].bias += 3
        padded[0].weight += 0.3
    images = IMAGES + 2
    with pytest.warns(SvccaWarning, match=r"a \(Sequential\) '0': \d\d% of the covariance's energy lies between"):
        matrix = svcca.compare(padded, None, images, layers=["0"], observe="fourier", progress=False)
    gap = matrix.rows[0].translation_gap
    assert gap > 0.3
    again = svcca.SimilarityMatrix.load(matrix.save(tmp_path / "m.json"))
    assert again.rows[0].translation_gap == gap
    assert json.loads((tmp_path / "m.json").read_text())["rows"][0]["n_frequencies"] == 64
    page = matrix.report(tmp_path / "m.html").read_text()
    assert "Translation gap" in page
    assert f"{gap:.2f}" in page
    assert "Translation gap" not in svcca.compare({"a": IMAGES}, observe="pool").report(tmp_path / "p.html").read_text()


def test_memory_does_not_grow_with_the_number_of_batches():
    def peak(n_batches):
        a, b = net(0), net(1)
        with LiveBytes() as memory:
            compared(a, b, (IMAGES[:30] + i for i in range(n_batches)))
        return memory.peak

    few, many = peak(4), peak(16)
    assert 0 < many <= 1.001 * few


def test_the_model_is_left_as_it_was():
    model = net(0).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    compared(model, None, IMAGES, observe=svcca.Fourier(phases=2))
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_comparison_left_to_auto_records_what_its_maps_allow():
    a = net(0)
    found = svcca.compare(a, None, IMAGES, layers=NAMES, measure=["svcca", "linear_cka"], progress=False)
    remark = found["svcca"].warnings[-1]
    assert remark.kind == "observation"
    assert remark.text.startswith("Maps were observed by 'pool'")
    assert "with 90 samples for up to 192 features" in remark.text
    assert found["linear_cka"].warnings[-1] == remark
    assert not any("pool" in note.text for note in compared(a, None, IMAGES).warnings)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_nets_on_a_gpu_give_the_same():
    rule = svcca.Fourier(phases=2)
    expected = compared(net(0), net(1), IMAGES, observe=rule)
    got = compared(net(0).cuda(), net(1).cuda(), IMAGES, observe=rule)
    np.testing.assert_allclose(got.values, expected.values, atol=1e-6)
