"""Sequences: every token, the last, or their mean; padding is left out by the attention mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from svcca.capture.observations.base import Observation
from svcca.capture.observations.shapes import widened
from svcca.errors import InputError, message


@dataclass(frozen=True)
class Tokens(Observation):
    """Every real token of every sample is a row; padding is left out by the attention mask."""

    name: ClassVar[str] = "tokens"
    per_sample: ClassVar[bool] = False

    def rows(self, output: Tensor, mask: Tensor | None, where: str) -> Tensor:
        """(n, tokens, features) -> (n_real_tokens, features)."""
        mask = _token_mask(output, mask, where, "tokens")
        return output.flatten(0, 1) if mask is None else output[mask]


@dataclass(frozen=True)
class LastToken(Observation):
    """A sample is a row: its last real token."""

    name: ClassVar[str] = "last_token"

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

    name: ClassVar[str] = "mean_token"

    def rows(self, output: Tensor, mask: Tensor | None, where: str) -> Tensor:
        """(n, tokens, features) -> (n, features)."""
        if output.ndim == 2:
            return output
        mask = _token_mask(output, mask, where, "mean_token")
        wide = widened(output)
        if mask is None:
            return wide.mean(dim=1)
        # where, not a product: what stands at a padded position may be infinite or NaN.
        real = torch.where(mask[..., None], wide, torch.zeros((), dtype=wide.dtype, device=wide.device))
        return real.sum(dim=1) / mask.sum(dim=1, keepdim=True)

    def describe(self, shape: Sequence[int]) -> str:
        """Name the rule."""
        return "mean_token" if len(shape) > 2 else "flatten"


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
