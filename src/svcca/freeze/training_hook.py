"""A hook that stays with the network in training, and does nothing in its copies."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn


class TrainingHook:
    """Call a function when a network runs in training mode.

    A copy of the network, or one that was saved whole, carries a hook that does nothing: it shares neither the
    function's data nor its training.

    Args:
        function: Function called with what the hook is given after the module: (args, keywords) or (args, output).
    """

    def __init__(self, function: Callable[..., None] | None) -> None:
        self._function = function

    def __call__(self, module: nn.Module, *given: object) -> None:
        """Call the function."""
        if self._function is not None and module.training:
            self._function(*given)

    def __deepcopy__(self, memo: object) -> TrainingHook:
        return TrainingHook(None)

    def __reduce__(self) -> tuple[type[TrainingHook], tuple[None]]:
        return TrainingHook, (None,)
