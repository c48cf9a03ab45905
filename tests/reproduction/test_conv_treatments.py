import numpy as np
import pytest
import torch
from reproduce.figures.conv_treatments import WAYS, largest_change, subsampled, treated

pytestmark = pytest.mark.filterwarnings("ignore::svcca.SvccaWarning")  # few samples


@pytest.fixture
def maps():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(300, 4, 4, 4, generator=generator)
    turn = torch.linalg.qr(torch.randn(4, 4, generator=generator)).Q  # which the SVD step does not see
    mixed = torch.einsum("nchw,cd->ndhw", x, turn)
    return x, mixed, torch.randn(300, 4, 4, 4, generator=generator)


def test_every_treatment_sees_that_channels_are_mixed(maps):
    found = treated(maps[0], maps[1])
    assert list(found) == ["pixels", "resized to 2 x 2", "resized to 8 x 8", "pool", "fourier", "flatten"]
    assert all(treatment["value"] > 0.999 for treatment in found.values())
    rows = [found[name]["rows"] for name in ("pixels", "resized to 2 x 2", "resized to 8 x 8", "pool")]
    assert rows == [4800, 1200, 19200, 300]


def test_unrelated_maps_are_near_each_treatments_chance_level(maps):
    found = treated(maps[0], maps[2])
    assert all(abs(treatment["value"] - treatment["chance"]) < 0.06 for treatment in found.values())


def test_flattening_is_left_out_where_images_are_too_few(maps):
    assert "flatten" not in treated(maps[0][:120], maps[1][:120])


def test_subsampling_takes_the_share_of_pixels_that_was_asked_for(maps):
    found = subsampled(maps[0], maps[1], (1 / 2, 1 / 16), draws=2)
    assert [rate["rows"] for rate in found["rows"]] == [2400, 300]
    assert all(min(rate["values"]) > 0.999 for way in WAYS for rate in found[way])


def test_what_differs_between_positions_differs_between_choices_of_positions(maps):
    x, mixed, noise = maps
    half = torch.cat([mixed[..., :2], noise[..., 2:]], dim=3)  # related on the left, unrelated on the right
    found = subsampled(x, half, (1 / 16,), draws=6)
    spread = {way: np.ptp(found[way][0]["values"]) for way in WAYS}
    assert spread["positions"] > 0.5 > spread["rows"] > 1e-3


def test_the_largest_change_is_that_of_the_claimed_rate():
    pair = [{"values": [0.5, 0.52]}, {"values": [0.4, 0.53]}]
    np.testing.assert_allclose(largest_change([pair], (1 / 2, 1 / 16), 1 / 16, [0.5]), [0.1])
    np.testing.assert_allclose(largest_change([pair], (1 / 2, 1 / 16), 1 / 2, [0.5]), [0.02])
