"""Counting floating-point operations with torch's own counter, in a way that it sees all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

SEEN_ON_CPU = [SDPBackend.MATH]
SEEN_ELSEWHERE = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
"""Kernels of attention that the counter sees. On CUDA the fused ones stay allowed: MATH keeps all attention weights,
and a long context may have no memory for them."""


@contextmanager
def counting_flops(device: torch.device) -> Iterator[FlopCounterMode]:
    """Count the operations within: matrix products, convolutions and attention, forward and backward.

    torch's own counter sees neither into the fast path of torch's transformer layers nor into the fused attention of
    the CPU: while it counts, both take the long way, whose matrix products it sees.

    Args:
        device: The device of the model.
    """
    seen = SEEN_ON_CPU if device.type == "cpu" else SEEN_ELSEWHERE
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(seen), FlopCounterMode(display=False) as counter:
            yield counter
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
