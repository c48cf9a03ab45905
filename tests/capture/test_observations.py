import numpy as np
import pytest
import torch

from svcca.capture.observations import Flatten, Fourier, Interpolate, LastToken, MeanToken, Pixels, Pool, Tokens
from svcca.capture.rules import RULES, advice_on_maps, choose_rules, pooled_by_default
from svcca.errors import InputError, UnknownOptionError

MAPS = torch.randn(5, 3, 4, 2, generator=torch.Generator().manual_seed(0))
TEXT = torch.randn(5, 6, 3, generator=torch.Generator().manual_seed(1))
LEFT = torch.tensor([[0, 0, 1, 1, 1, 1], [1] * 6, [0] * 5 + [1], [0, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1]]).bool()
RIGHT = LEFT.flip(1)
GAPS = torch.tensor([[1, 0, 1, 0, 1, 0], [0, 1, 0, 0, 0, 0], [1] * 6, [0, 0, 1, 1, 0, 0], [1, 0, 0, 0, 0, 1]]).bool()
MASKS = pytest.mark.parametrize("mask", [None, LEFT, RIGHT, GAPS], ids=["none", "left", "right", "gaps"])


def real_tokens(sample, mask):
    return [t for t in range(6) if mask is None or bool(mask[sample, t])]


def test_flatten_gives_every_value_of_a_sample_in_order():
    expected = [[float(v) for channel in sample for row in channel for v in row] for sample in MAPS]
    assert np.array_equal(Flatten().rows(MAPS, None, "a").numpy(), np.array(expected, np.float32))


def test_flatten_makes_a_column_of_one_number_a_sample():
    assert Flatten().rows(torch.ones(4), None, "a").shape == (4, 1)


def test_pool_is_each_channels_mean_over_all_positions():
    expected = np.zeros((5, 3))
    for n in range(5):
        for c in range(3):
            expected[n, c] = np.mean([float(MAPS[n, c, h, w]) for h in range(4) for w in range(2)])
    # float32 means of 8 values of order 1: a handful of roundings of eps 1.2e-7
    np.testing.assert_allclose(Pool().rows(MAPS, None, "a").numpy(), expected, atol=1e-6)


def test_pool_leaves_vectors_as_they_are():
    assert torch.equal(Pool().rows(MAPS[:, :, 0, 0], None, "a"), MAPS[:, :, 0, 0])


def test_pool_of_half_precision_sums_in_single():
    ones = torch.full((1, 1, 64, 64), 100.0, dtype=torch.float16)  # 4096 x 100 is beyond float16's 65504
    assert Pool().rows(ones, None, "a").item() == 100.0


def test_pixels_gives_every_position_of_every_sample_as_a_row_of_channels():
    expected = [[float(MAPS[n, c, h, w]) for c in range(3)] for n in range(5) for h in range(4) for w in range(2)]
    assert np.array_equal(Pixels().rows(MAPS, None, "a").numpy(), np.array(expected, np.float32))


def test_pixels_takes_the_same_seeded_positions_in_every_sample():
    everywhere = Pixels().rows(MAPS, None, "a").reshape(5, 8, 3)
    chosen = Pixels(3, seed=4).rows(MAPS, None, "a").reshape(5, 3, 3)
    positions = [next(p for p in range(8) if torch.equal(everywhere[0, p], chosen[0, k])) for k in range(3)]
    assert len(set(positions)) == 3
    assert torch.equal(chosen, everywhere[:, positions])


def test_pixels_takes_the_same_positions_whatever_the_batch():
    rule = Pixels(3, seed=4)
    together = rule.rows(MAPS, None, "a")
    apart = torch.cat([rule.rows(part, None, "a") for part in MAPS.split(2)])
    assert torch.equal(together, apart)


def test_pixels_takes_the_same_positions_on_a_layer_of_other_channels():
    where = torch.arange(8.0).reshape(1, 1, 4, 2)
    narrow, wide = where.expand(5, 1, 4, 2), where.expand(5, 7, 4, 2)
    rule = Pixels(3, seed=4)
    assert torch.equal(rule.rows(narrow, None, "a"), rule.rows(wide, None, "b")[:, :1])


def test_another_seed_takes_other_positions():
    maps = torch.randn(2, 3, 16, 16)
    assert not torch.equal(Pixels(8, seed=0).rows(maps, None, "a"), Pixels(8, seed=1).rows(maps, None, "a"))


def test_pixels_leaves_torchs_random_state_alone():
    before = torch.get_rng_state()
    Pixels(3).rows(MAPS, None, "a")
    assert torch.equal(torch.get_rng_state(), before)


def test_asking_for_more_positions_than_there_are_takes_all():
    assert torch.equal(Pixels(100).rows(MAPS, None, "a"), Pixels().rows(MAPS, None, "a"))


@MASKS
def test_tokens_gives_every_real_token_of_every_sample(mask):
    expected = [TEXT[n, t].tolist() for n in range(5) for t in real_tokens(n, mask)]
    assert np.array_equal(Tokens().rows(TEXT, mask, "a").numpy(), np.array(expected, np.float32))


@MASKS
def test_last_token_gives_the_last_real_one(mask):
    expected = [TEXT[n, real_tokens(n, mask)[-1]].tolist() for n in range(5)]
    assert np.array_equal(LastToken().rows(TEXT, mask, "a").numpy(), np.array(expected, np.float32))


@MASKS
def test_mean_token_averages_the_real_ones(mask):
    expected = [np.mean([TEXT[n, t].double().numpy() for t in real_tokens(n, mask)], axis=0) for n in range(5)]
    # float32 means of at most 6 values of order 1
    np.testing.assert_allclose(MeanToken().rows(TEXT, mask, "a").numpy(), np.array(expected), atol=1e-6)


@pytest.mark.parametrize("rule", [Tokens(), LastToken(), MeanToken()], ids=str)
@pytest.mark.parametrize("junk", [float("nan"), float("inf"), 1e30])
def test_what_stands_at_a_padded_position_changes_nothing(rule, junk):
    spoiled = torch.where(GAPS[..., None], TEXT, torch.tensor(junk))
    assert torch.equal(rule.rows(spoiled, GAPS, "a"), rule.rows(TEXT, GAPS, "a"))


@pytest.mark.parametrize("rule", [LastToken(), MeanToken()], ids=str)
def test_the_rules_of_one_token_leave_vectors_as_they_are(rule):
    assert torch.equal(rule.rows(TEXT[:, 0], LEFT, "a"), TEXT[:, 0])


@pytest.mark.parametrize(
    ("rule", "output", "text"),
    [
        (Pixels(), TEXT[:, 0], r"an output \(n_samples, channels, \*positions\) for 'pixels'; got shape \(5, 3\)"),
        (Pool(), torch.ones(5), r"for 'pool'; got shape \(5,\)"),
        (Tokens(), MAPS, r"an output \(n_samples, n_tokens, n_features\) for 'tokens'; got shape \(5, 3, 4, 2\)"),
        (Tokens(), TEXT[:, 0], r"for 'tokens'; got shape \(5, 3\)"),
        (LastToken(), MAPS, r"for 'last_token'; got shape \(5, 3, 4, 2\)"),
        (MeanToken(), MAPS, r"for 'mean_token'; got shape \(5, 3, 4, 2\)"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_an_output_of_another_rank_is_refused_by_its_place(rule, output, text):
    with pytest.raises(InputError, match=f"a 'fc', batch 3: expected .*{text}"):
        rule.rows(output, None, "a 'fc', batch 3")


@pytest.mark.parametrize("rule", [Tokens(), LastToken(), MeanToken()], ids=str)
def test_a_mask_of_another_length_is_refused(rule):
    with pytest.raises(InputError, match=r"an attention mask of shape \(5, 6\), one entry a token; got shape \(5, 5\)"):
        rule.rows(TEXT, LEFT[:, 1:], "a 'fc', batch 3")


@pytest.mark.parametrize("rule", [Tokens(), LastToken(), MeanToken()], ids=str)
def test_a_sample_that_is_all_padding_is_refused(rule):
    mask = LEFT.clone()
    mask[2] = False
    with pytest.raises(InputError, match="at least one real token in every sample; got a sample that is all padding"):
        rule.rows(TEXT, mask, "a 'fc', batch 3")


@pytest.mark.parametrize(
    ("rule", "shape", "text"),
    [
        (Flatten(), (5, 3, 4, 2), "flatten"),
        (Pool(), (5, 3, 4, 2), "pool"),
        (Pool(), (5, 3), "flatten"),
        (Pixels(), (5, 3, 4, 2), "pixels (all 8 positions)"),
        (Pixels(8), (5, 3, 4, 2), "pixels (all 8 positions)"),
        (Pixels(3, seed=4), (5, 3, 4, 2), "pixels (3 of 8 positions, seed 4)"),
        (Tokens(), (5, 6, 3), "tokens"),
        (LastToken(), (5, 6, 3), "last_token"),
        (MeanToken(), (5, 3), "flatten"),
    ],
    ids=str,
)
def test_a_rule_says_what_it_did(rule, shape, text):
    assert rule.describe(shape) == text


SHAPES = {"conv": (5, 3, 4, 2), "text": (5, 6, 3), "fc": (5, 3), "loss": (5,)}


TOKENS_ALONE = {"text": (5, 6, 3)}


def chosen(observe, shapes=SHAPES, *others):
    return choose_rules(observe, [shapes, *others])[0]


def test_auto_goes_by_rank():
    assert chosen("auto") == {"conv": Pool(), "text": MeanToken(), "fc": Flatten(), "loss": Flatten()}
    assert chosen("auto", TOKENS_ALONE) == {"text": Tokens()}


def test_auto_takes_a_mean_of_tokens_beside_layers_of_one_row_a_sample():
    assert chosen("auto", TOKENS_ALONE, {"fc": (5, 3)}) == {"text": MeanToken()}
    assert chosen("auto", TOKENS_ALONE, TOKENS_ALONE) == {"text": Tokens()}
    assert chosen({"conv": "pixels"}, {**TOKENS_ALONE, "conv": (5, 3, 4, 2)}) == {"text": Tokens(), "conv": Pixels()}
    assert chosen({"conv": "pool"}, {**TOKENS_ALONE, "conv": (5, 3, 4, 2)}) == {"text": MeanToken(), "conv": Pool()}


def test_a_mapping_gives_each_pattern_its_rule_and_leaves_the_rest_to_auto():
    rules = chosen({"con*": Pixels(2), "text": "last_token"})
    assert rules == {"conv": Pixels(2), "text": LastToken(), "fc": Flatten(), "loss": Flatten()}


def test_the_first_pattern_that_fits_decides():
    assert chosen({"conv": "flatten", "*": "pool"})["conv"] == Flatten()


@pytest.mark.parametrize("name", list(RULES))
def test_every_rule_can_be_asked_for_by_its_name(name):
    rule = Interpolate(sizes=(4, 2)) if name == "interpolate" else RULES[name]
    assert chosen(name) == dict.fromkeys(SHAPES, rule)


@pytest.mark.parametrize("rule", ["pixel", None, 3, Pixels], ids=str)
def test_an_unknown_rule_lists_those_there_are(rule):
    known = "auto, flatten, fourier, interpolate, pixels, pool, tokens, last_token, mean_token"
    with pytest.raises(UnknownOptionError, match=f"observe: expected a rule to be one of {known}; got"):
        chosen(rule)


def test_an_unknown_rule_in_a_mapping_offers_the_closest():
    with pytest.raises(UnknownOptionError, match=r"got 'pols'\. Did you mean 'pool'\?"):
        chosen({"conv": "pols"})


# -- what auto says ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shapes", "n_samples", "parts"),
    [
        (
            [(9, 64, 32, 32), (9, 64, 8, 8)],
            2000,
            ["layers; 'interpolate', since their", "out of reach, with 2,000 samples for up to 65,536"],
        ),
        (
            [(9, 4, 3, 3)] * 2,
            180,
            ["layers; 'pixels', since they have one size", "in reach, with 180 samples for up to 36"],
        ),
        ([(9, 4, 3, 3)], 179, ["'flatten' is out of reach"]),
        (
            [(9, 4, 7, 7), (9, 4, 5, 5)],
            100,
            ["Fourier(resize=...) since their sizes do not divide each other; 'interpolate'"],
        ),
    ],
)
def test_auto_says_what_pool_leaves_out_and_what_these_shapes_and_samples_allow(shapes, n_samples, parts):
    text = advice_on_maps(shapes, n_samples)
    assert text.startswith("Maps were observed by 'pool'")
    assert all(part in text for part in parts), text


def test_the_advice_is_about_maps_left_to_auto():
    assert pooled_by_default("auto", SHAPES) == {"conv": (5, 3, 4, 2)}
    assert pooled_by_default({"fc": "flatten"}, SHAPES) == {"conv": (5, 3, 4, 2)}
    assert pooled_by_default("pool", SHAPES) == pooled_by_default({"conv": "pool"}, SHAPES) == {}


# -- interpolate ------------------------------------------------------------------------------------------------------


def test_interpolate_resizes_maps_as_torch_does_and_takes_positions():
    expected = torch.nn.functional.interpolate(MAPS, size=(6, 5), mode="bilinear")
    got = Interpolate(sizes=(6, 5)).rows(MAPS, None, "a")
    torch.testing.assert_close(got, Pixels().rows(expected, None, "a"))
    some = Interpolate(sizes=(6, 5), n_positions=7, seed=3).rows(MAPS, None, "a")
    torch.testing.assert_close(some, Pixels(7, 3).rows(expected, None, "a"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_interpolate_of_half_precision_works_in_single(dtype):
    half = MAPS.to(dtype)
    expected = Interpolate(sizes=(6, 5)).rows(half.float(), None, "a")
    assert torch.equal(Interpolate(sizes=(6, 5)).rows(half, None, "a"), expected)


def test_interpolate_goes_by_the_largest_size_of_both_networks_along_each_axis():
    first, second = {"one": (5, 3, 4, 2), "fc": (5, 3)}, {"two": (5, 3, 3, 8)}
    observe = {"one": "interpolate", "two": "interpolate"}
    rules = choose_rules(observe, [first, second])
    assert rules == [{"one": Interpolate((4, 8)), "fc": Flatten()}, {"two": Interpolate((4, 8))}]
    assert Interpolate((4, 8)).positions((5, 3, 4, 2)) == (4, 8)
    assert Interpolate((4, 8)).describe((5, 3, 4, 2)) == "interpolate 4 x 2 to 4 x 8 (all 32 positions)"


def test_interpolate_keeps_the_size_the_user_gave():
    assert chosen({"conv": Interpolate((9, 9))})["conv"] == Interpolate((9, 9))


def test_interpolate_refuses_maps_with_other_axes():
    with pytest.raises(InputError, match="a: expected maps with 2 spatial axes, as in the other layers; got shape"):
        Interpolate((4, 4)).rows(MAPS[:, :, 0], None, "a")


# -- fourier ----------------------------------------------------------------------------------------------------------


def test_fourier_leaves_maps_and_vectors_as_they_are():
    assert torch.equal(Fourier().rows(MAPS, None, "a"), MAPS)
    assert torch.equal(Fourier().rows(MAPS[:, :, 0, 0], None, "a"), MAPS[:, :, 0, 0])
    moved = Fourier(channels_last=True).rows(MAPS.movedim(1, -1), None, "a")
    assert torch.equal(moved, MAPS)


def test_fourier_says_what_it_did():
    assert Fourier().describe((5, 3, 4, 2)) == "fourier (3 channels, 4 x 2)"
    assert Fourier(channels_last=True).describe((5, 4, 2, 3)) == "fourier (3 channels, 4 x 2)"
    assert Fourier(phases=2).describe((5, 3, 4, 2)) == "fourier (3 channels, 4 x 2, 2 phases an axis)"
    assert Fourier().describe((5, 3)) == "fourier (vector: zero frequency)"


def test_fourier_is_for_all_layers_or_for_none():
    assert set(chosen("fourier").values()) == {Fourier()}
    with pytest.raises(InputError, match="observe: expected 'fourier' for every layer or for none"):
        chosen({"conv": "fourier"})
    with pytest.raises(InputError, match="for every layer or for none"):
        chosen({"conv": Fourier(phases=2), "*": "fourier"})


@pytest.mark.parametrize("phases", [0, -1, 1.5, True])
def test_phases_are_counted(phases):
    with pytest.raises(InputError, match="phases as a positive integer"):
        Fourier(phases=phases)


def test_an_unknown_way_to_resize_lists_those_there_are():
    with pytest.raises(UnknownOptionError, match="crop, interpolate"):
        Fourier(resize="bilinear")


def test_fourier_refuses_complex_maps():
    with pytest.raises(InputError, match="a: expected real maps for 'fourier'; got dtype complex64"):
        Fourier().rows(MAPS.to(torch.complex64), None, "a")
