"""A hook that stays with the network in training, and does not go along with its copies."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn


class TrainingHook:
    """Calls a function when a network runs in training mode.

    A copy of the network, or one that was saved whole, carries a hook that does nothing: it shares neither what the
    function holds nor its training.

    Args:
        function: Called with what the hook is given less the module: (args, keywords) or (args, output).
    """

    def __init__(self, function: Callable[..., None] | None) -> None:
        self._function = function

    def __call__(self, module: nn.Module, *given: object) -> None:
        """Do what the hook is for."""
        if self._function is not None and module.training:
            self._function(*given)

    def __deepcopy__(self, memo: object) -> TrainingHook:
        return TrainingHook(None)

    def __reduce__(self) -> tuple[type[TrainingHook], tuple[None]]:
        return TrainingHook, (None,)
