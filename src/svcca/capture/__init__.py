"""Models and data to rows: which layers, what they put out, and what counts as a sample. No decomposition."""

from svcca.capture.activations import activations
from svcca.capture.batches import Forward
from svcca.capture.checkpoints import Weights
from svcca.capture.evaluations import Evaluate
from svcca.capture.observations import (
    Flatten,
    Fourier,
    Interpolate,
    LastToken,
    MeanToken,
    Observation,
    Pixels,
    Pool,
    Tokens,
)
from svcca.capture.rules import Observe
from svcca.capture.targets import Targets

__all__ = [
    "Evaluate",
    "Flatten",
    "Forward",
    "Fourier",
    "Interpolate",
    "LastToken",
    "MeanToken",
    "Observation",
    "Observe",
    "Pixels",
    "Pool",
    "Targets",
    "Tokens",
    "Weights",
    "activations",
]
