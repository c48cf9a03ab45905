"""The half plane of frequencies, and which of two sizes covary, by counting over the full plane."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from svcca.core.resample import resized
from svcca.errors import InputError
from svcca.fourier.frequencies import FrequencyGrid, match_frequencies

sizes = st.lists(st.integers(1, 7), min_size=1, max_size=3).map(tuple)


def plane(size):
    return list(itertools.product(*(range(n) for n in size)))


def negative(k, size):
    return tuple(-i % n for i, n in zip(k, size, strict=True))


@given(size=sizes)
def test_each_frequency_or_its_negative_is_kept_once(size):
    grid = FrequencyGrid.of(size)
    kept = [tuple(k) for k in grid.coordinates.tolist()]
    assert kept[0] == tuple(0 for _ in size)
    assert len(set(kept)) == len(kept)
    for k, weight in zip(kept, grid.weights.tolist(), strict=True):
        assert weight == (1 if negative(k, size) == k else 2)
        assert negative(k, size) == k or negative(k, size) not in kept
    assert int(grid.weights.sum()) == grid.n_positions == len(plane(size))


@given(size=sizes)
def test_frequencies_lie_where_rfftn_puts_them_and_are_found_again(size):
    grid = FrequencyGrid.of(size)
    values = np.random.default_rng(0).normal(size=size)
    half = torch.fft.rfftn(torch.from_numpy(values)).flatten()[grid.half].numpy()
    full = np.fft.fftn(values)
    for k in plane(size):
        index, mirrored = grid.locate(torch.tensor(k))
        value = half[int(index)].conj() if bool(mirrored) else half[int(index)]
        np.testing.assert_allclose(value, full[k], atol=1e-12 * len(plane(size)))
    spread = grid.plane(torch.from_numpy(half.real)).numpy()
    np.testing.assert_allclose(spread, full.real, atol=1e-12 * len(plane(size)))


def pairs_of(matching, x_size, y_size):
    """Blocks as sets of pairs of full-plane frequencies, those of negative blocks included."""
    x_grid, y_grid = FrequencyGrid.of(x_size), FrequencyGrid.of(y_size)
    blocks = []
    for members, mirrored, weight in zip(
        matching.members.tolist(), matching.mirrored.tolist(), matching.weights.tolist(), strict=True
    ):
        block = set()
        for pair, flipped in zip(members, mirrored, strict=True):
            x = tuple(x_grid.coordinates[matching.x[pair]].tolist())
            y = tuple(y_grid.coordinates[matching.y[pair]].tolist())
            y = negative(y, y_size) if bool(matching.y_mirrored[pair]) else y
            block.add((negative(x, x_size), negative(y, y_size)) if flipped else (x, y))
        blocks.append(block)
        if weight == 2:
            blocks.append({(negative(x, x_size), negative(y, y_size)) for x, y in block})
    return blocks


@pytest.mark.parametrize(
    ("x_size", "y_size"),
    [
        ((4,), (4,)),
        ((5,), (5,)),
        ((8,), (4,)),
        ((4,), (8,)),
        ((6,), (3,)),
        ((3,), (9,)),
        ((8, 6), (4, 3)),
        ((2, 3), (4, 6)),
    ],
)
def test_blocks_hold_exactly_the_frequencies_that_agree_modulo_the_smaller_size(x_size, y_size):
    smaller = tuple(min(a, b) for a, b in zip(x_size, y_size, strict=True))
    expected = {}
    for x, y in itertools.product(plane(x_size), plane(y_size)):
        rests = [tuple(i % n for i, n in zip(k, smaller, strict=True)) for k in (x, y)]
        if rests[0] == rests[1]:
            expected.setdefault(rests[0], set()).add((x, y))
    got = pairs_of(match_frequencies(x_size, y_size, None, "test"), x_size, y_size)
    assert sorted(map(sorted, got)) == sorted(map(sorted, expected.values()))


@pytest.mark.parametrize(("x_size", "y_size"), [((7,), (5,)), ((8,), (6,)), ((4, 6), (6, 5))])
def test_crop_pairs_the_signed_frequencies_that_both_have(x_size, y_size):
    matching = match_frequencies(x_size, y_size, "crop", "test")
    limits = [(min(a, b) - 1) // 2 for a, b in zip(x_size, y_size, strict=True)]
    expected = [
        {(tuple(i % n for i, n in zip(k, x_size, strict=True)), tuple(i % n for i, n in zip(k, y_size, strict=True)))}
        for k in itertools.product(*(range(-limit, limit + 1) for limit in limits))
    ]
    assert sorted(map(sorted, pairs_of(matching, x_size, y_size))) == sorted(map(sorted, expected))
    assert not matching.exact


def test_sizes_of_which_neither_divides_the_other_along_every_axis_are_refused():
    with pytest.raises(InputError, match=r"test: expected maps of equal sizes.*got 8 x 2 and 4 x 4"):
        match_frequencies((8, 2), (4, 4), None, "test")


@given(size=sizes, seed=st.integers(0, 99))
def test_maps_are_resized_as_torch_does(size, seed):
    modes = {1: "linear", 2: "bilinear", 3: "trilinear"}
    rng = np.random.default_rng(seed)
    maps = torch.from_numpy(rng.normal(size=(2, 3, *size)))
    new = tuple(int(n) for n in rng.integers(1, 9, size=len(size)))
    expected = torch.nn.functional.interpolate(maps, size=new, mode=modes[len(size)])
    torch.testing.assert_close(resized(maps, new), expected, rtol=0, atol=1e-6)
