"""Observation rules: what counts as a sample and what as a feature in a layer's output."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from svcca.core.resample import resized
from svcca.errors import InputError, message, unknown_option
from svcca.fourier.frequencies import RESIZE, Resize


@runtime_checkable
class Observation(Protocol):
    """A rule from a layer's output to rows (n_rows, n_features): what counts as a sample and what as a feature.

    A rule of your own is a class with these members, or a subclass of this one, which has all but `rows`. It is passed
    as any other: observe=Norms().

    >>> import svcca
    >>> class Norms(Observation):  # of each channel of a map: (n, channels, *positions) -> (n, channels)
    ...     def rows(self, output, mask, where):
    ...         return output.flatten(2).norm(dim=2)
    >>> maps = torch.randn(500, 3, 4, 4)
    >>> matrix = svcca.compare({"conv": maps, "relu": maps.relu()}, observe=Norms())
    >>> [(layer.name, layer.n_features, layer.observation) for layer in matrix.rows]
    [('conv', 3, 'norms'), ('relu', 3, 'norms')]
    """

    per_sample: ClassVar[bool] = True
    """Whether each sample gives one row, so that layers of any shape line up."""

    def rows(self, output: Tensor, mask: Tensor | None, where: str) -> Tensor:
        """Turn the output for one batch into rows.

        Args:
            output: The layer's output, samples first.
            mask: Which tokens are real, (n_samples, n_tokens) bool, where the batch has an attention mask.
            where: Network, layer and batch, to begin the message of an error with.
        """
        ...

    def describe(self, shape: Sequence[int]) -> str:
        """Name the rule as it applied to an output of this shape (samples first)."""
        return type(self).__name__.lower()

    def positions(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return what the rows of one sample run over: layers that differ in it do not line up."""
        return ()


@dataclass(frozen=True)
class Flatten(Observation):
    """A sample is a row; every value of its output is a feature. Exact; needs many more samples than features."""

    def rows(self, output: Tensor, mask: Tensor | None, where: str) -> Tensor:
        """(n, ...) -> (n, product of the rest)."""
        return output.reshape(output.shape[0], -1)


@dataclass(frozen=True)
class Pool(Observation):
    """A sample is a row; a feature is a channel's mean over all positions. Keeps only the mean (zero frequency)."""

    def rows(self, output: Tensor, mask: Tensor | None, where: str) -> Tensor:
        """(n, channels, *positions) -> (n, channels)."""
        _check_rank(output, where, "pool", 2, "(n_samples, channels, *positions)")
        return output if output.ndim == 2 else _wide(output).flatten(2).mean(dim=2)

    def describe(self, shape: Sequence[int]) -> str:
        """Name the rule."""
        return "pool" if len(shape) > 2 else "flatten"


@dataclass(frozen=True)
class Pixels(Observation):
    """Every position of every sample is a row; a feature is a channel. Needs maps of one size on both sides.

    Attributes:
        n_positions: Number of positions to take, the same ones in every sample and layer; None takes all.
        seed: The seed of that choice.
    """

    n_positions: int | None = None
    seed: int = 0
    per_sample: ClassVar[bool] = False

    def rows(self, output: Tensor, mask: Tensor | None, where: str) -> Tensor:
        """(n, channels, *positions) -> (n * n_positions, channels)."""
        _check_rank(output, where, "pixels", 3, "(n_samples, channels, *positions)")
        maps = output.flatten(2)
        if self.n_positions is not None and self.n_positions < maps.shape[2]:
            maps = maps[:, :, self._chosen(maps.shape[2]).to(maps.device)]
        return maps.transpose(1, 2).reshape(-1, maps.shape[1])

    def _chosen(self, n_available: int) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        return torch.randperm(n_available, generator=generator)[: self.n_positions].sort().values

    def describe(self, shape: Sequence[int]) -> str:
        """Name the rule, with how many positions it took."""
        available = math.prod(shape[2:])
        if self.n_positions is None or self.n_positions >= available:
            return f"pixels (all {available} positions)"
        return f"pixels ({self.n_positions} of {available} positions, seed {self.seed})"

    def positions(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return height and width, or whatever axes there are."""
        return tuple(shape[2:])


@dataclass(frozen=True)
class Interpolate(Observation):
    """As `Pixels`, for maps of other sizes: all are resized to the largest among them first, bilinear. Approximate.

    Attributes:
        sizes: The size that maps are resized to; None: along each axis the largest of all layers observed so.
        n_positions: Number of positions to take; None takes all.
        seed: The seed of that choice.
    """

    sizes: tuple[int, ...] | None = None
    n_positions: int | None = None
    seed: int = 0
    per_sample: ClassVar[bool] = False

    def rows(self, output: Tensor, mask: Tensor | None, where: str) -> Tensor:
        """(n, channels, *any sizes) -> (n * n_positions, channels)."""
        _check_rank(output, where, "interpolate", 3, "(n_samples, channels, *positions)")
        if self.sizes is not None and len(self.sizes) != output.ndim - 2:
            got = f"shape {tuple(output.shape)}"
            expected = f"maps with {len(self.sizes)} spatial axes, as in the other layers"
            raise InputError(message(where, expected, got, "", "Observe it by another rule, e.g. 'pool'"))
        return self._pixels.rows(resized(_wide(output), self.sizes or output.shape[2:]), mask, where)

    @property
    def _pixels(self) -> Pixels:
        return Pixels(self.n_positions, self.seed)

    def describe(self, shape: Sequence[int]) -> str:
        """Name the rule, with both sizes."""
        sizes = self.sizes or tuple(shape[2:])
        taken = self._pixels.describe((*shape[:2], *sizes)).removeprefix("pixels")
        return f"interpolate {size_in_words(shape[2:])} to {size_in_words(sizes)}{taken}"

    def positions(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return height and width after resizing."""
        return tuple(self.sizes or shape[2:])


@dataclass(frozen=True)
class Fourier(Observation):
    """Maps by spatial frequency: exact CCA of the flattened maps of equivariant layers over shifted inputs.

    For all layers of a comparison or none. Vectors compare with the zero frequency of maps, their mean.

    Attributes:
        phases: Number of shifts along each axis: inputs (n_samples, channels, *sizes) are fed under every cyclic shift
            by 0 to phases - 1 positions. Pass the total stride of the layer of the smallest map. 1 shifts nothing.
        resize: The approximation for maps whose sizes do not divide each other: "crop" or "interpolate".
        channels_last: Whether layers put out (n_samples, *sizes, channels).

    References:
        Raghu et al. (2017), section 3.
    """

    phases: int = 1
    resize: Resize | None = None
    channels_last: bool = False

    def __post_init__(self) -> None:
        """Check the choices."""
        if not isinstance(self.phases, int) or isinstance(self.phases, bool) or self.phases < 1:
            raise InputError(message("Fourier", "phases as a positive integer", repr(self.phases)))
        if self.resize is not None and self.resize not in RESIZE:
            raise unknown_option("Fourier", "resize", self.resize, RESIZE)

    def rows(self, output: Tensor, mask: Tensor | None, where: str) -> Tensor:
        """Return maps (n, channels, *positions), or vectors, as they are."""
        _check_rank(output, where, "fourier", 2, "(n_samples, channels, *positions)")
        if output.is_complex():
            got = f"dtype {str(output.dtype).removeprefix('torch.')}"
            raise InputError(message(where, "real maps for 'fourier'", got))
        return output.movedim(-1, 1) if self.channels_last and output.ndim > 2 else output

    def describe(self, shape: Sequence[int]) -> str:
        """Name the rule, with the size of the map."""
        if len(shape) == 2:
            return "fourier (vector: zero frequency)"
        sizes = shape[1:-1] if self.channels_last else shape[2:]
        phases = f", {self.phases} phases an axis" if self.phases > 1 else ""
        resize = {"crop": ", cropped to the smaller map", "interpolate": ", resized to the largest map", None: ""}
        channels = shape[-1 if self.channels_last else 1]
        return f"fourier ({channels} channels, {size_in_words(sizes)}{phases}{resize[self.resize]})"


@dataclass(frozen=True)
class Tokens(Observation):
    """Every real token of every sample is a row; padding is left out by the attention mask."""

    per_sample: ClassVar[bool] = False

    def rows(self, output: Tensor, mask: Tensor | None, where: str) -> Tensor:
        """(n, tokens, features) -> (n_real_tokens, features)."""
        mask = _token_mask(output, mask, where, "tokens")
        return output.flatten(0, 1) if mask is None else output[mask]


@dataclass(frozen=True)
class LastToken(Observation):
    """A sample is a row: its last real token."""

    def rows(self, output: Tensor, mask: Tensor | None, where: str) -> Tensor:
        """(n, tokens, features) -> (n, features)."""
        if output.ndim == 2:
            return output
        mask = _token_mask(output, mask, where, "last_token")
        if mask is None:
            return output[:, -1]
        positions = torch.arange(mask.shape[1], device=mask.device)
        last = (mask * positions).amax(dim=1)  # padding may stand on either side
        return output[torch.arange(output.shape[0], device=output.device), last]

    def describe(self, shape: Sequence[int]) -> str:
        """Name the rule."""
        return "last_token" if len(shape) > 2 else "flatten"


@dataclass(frozen=True)
class MeanToken(Observation):
    """A sample is a row: the mean of its real tokens."""

    def rows(self, output: Tensor, mask: Tensor | None, where: str) -> Tensor:
        """(n, tokens, features) -> (n, features)."""
        if output.ndim == 2:
            return output
        mask = _token_mask(output, mask, where, "mean_token")
        wide = _wide(output)
        if mask is None:
            return wide.mean(dim=1)
        # where, not a product: what stands at a padded position may be infinite or NaN.
        real = torch.where(mask[..., None], wide, torch.zeros((), dtype=wide.dtype, device=wide.device))
        return real.sum(dim=1) / mask.sum(dim=1, keepdim=True)

    def describe(self, shape: Sequence[int]) -> str:
        """Name the rule."""
        return "mean_token" if len(shape) > 2 else "flatten"


def size_in_words(sizes: Sequence[int]) -> str:
    """Write the sizes of a map, as 32 x 32."""
    return " x ".join(str(size) for size in sizes)


def _wide(output: Tensor) -> Tensor:
    """Convert half precision to float32, whose range holds a sum."""
    return output.float() if output.dtype in (torch.float16, torch.bfloat16) else output


def _check_rank(output: Tensor, where: str, rule: str, least: int, shape: str) -> None:
    if output.ndim < least:
        remedy = "Choose another rule for this layer, e.g. observe={'name': 'flatten'}"
        raise InputError(message(where, f"an output {shape} for {rule!r}", f"shape {tuple(output.shape)}", "", remedy))


def _token_mask(output: Tensor, mask: Tensor | None, where: str, rule: str) -> Tensor | None:
    """Check that an output has a token axis, and that the mask fits it."""
    if output.ndim != 3:
        remedy = "Choose another rule for this layer: pool for maps, flatten for vectors"
        expected = f"an output (n_samples, n_tokens, n_features) for {rule!r}"
        raise InputError(message(where, expected, f"shape {tuple(output.shape)}", "", remedy))
    if mask is None:
        return None
    if mask.shape != output.shape[:2]:
        raise InputError(
            message(
                where,
                f"an attention mask of shape {tuple(output.shape[:2])}, one entry a token",
                f"shape {tuple(mask.shape)}",
                "The layer's positions are not the input's tokens",
                "Use observe={'name': 'flatten'} or leave the layer out",
            )
        )
    if not bool(mask.any(dim=1).all()):
        raise InputError(message(where, "at least one real token in every sample", "a sample that is all padding"))
    return mask.to(output.device)
