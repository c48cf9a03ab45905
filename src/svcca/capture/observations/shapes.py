"""What several rules ask of the shape and precision of a layer's output."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from svcca.errors import InputError, message


def size_in_words(sizes: Sequence[int]) -> str:
    """Write the sizes of a map, as 32 x 32."""
    return " x ".join(str(size) for size in sizes)


def widened(output: Tensor) -> Tensor:
    """Convert half precision to float32, whose range holds a sum."""
    return output.float() if output.dtype in (torch.float16, torch.bfloat16) else output


def check_axes(output: Tensor, where: str, rule: str, least: int, shape: str) -> None:
    """Raise InputError for an output of fewer axes than a rule needs."""
    if output.ndim < least:
        remedy = "Choose another rule for this layer, e.g. observe={'name': 'flatten'}"
        raise InputError(message(where, f"an output {shape} for {rule!r}", f"shape {tuple(output.shape)}", "", remedy))
