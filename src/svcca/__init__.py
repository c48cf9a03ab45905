"""SVCCA and its relatives: compare what neural networks have learned, and act on it.

>>> import svcca, numpy as np
>>> x = np.random.default_rng(0).normal(size=(1000, 20))
>>> result = svcca.svcca(x, x @ np.random.default_rng(1).normal(size=(20, 30)))
>>> round(result.similarity, 6)
1.0
"""

import sys as _sys
from importlib import metadata as _metadata
from typing import TYPE_CHECKING as _TYPE_CHECKING

from svcca import core as core
from svcca import fourier as fourier
from svcca import freeze as freeze
from svcca import measures as measures
from svcca import report as report  # registers the pages that a result's `.report(path)` writes
from svcca.capture import (
    Flatten,
    Fourier,
    Interpolate,
    LastToken,
    MeanToken,
    Pixels,
    Pool,
    Tokens,
    activations,
)
from svcca.compare import (
    ClassSensitivity,
    DynamicsRecorder,
    LearningDynamics,
    SimilarityMatrix,
    class_dynamics,
    class_sensitivity,
    compare,
    learning_dynamics,
)
from svcca.compress import compress, compression_report, load_compressed
from svcca.errors import SvccaError, SvccaWarning
from svcca.freeze import FreezeTraining
from svcca.io import load_activations, save_activations
from svcca.measures import MEASURES, CCAResult, cca, svcca
from svcca.project import directions, intrinsic_dimensions, project, projection_curve

__version__ = _metadata.version("svcca")

__all__ = [
    "MEASURES",
    "CCAResult",
    "ClassSensitivity",
    "DynamicsRecorder",
    "Flatten",
    "Fourier",
    "FreezeTraining",
    "Interpolate",
    "LastToken",
    "LearningDynamics",
    "MeanToken",
    "Pixels",
    "Pool",
    "SimilarityMatrix",
    "SvccaError",
    "SvccaWarning",
    "Tokens",
    "activations",
    "cca",
    "class_dynamics",
    "class_sensitivity",
    "compare",
    "compress",
    "compression_report",
    "directions",
    "intrinsic_dimensions",
    "learning_dynamics",
    "load_activations",
    "load_compressed",
    "project",
    "projection_curve",
    "save_activations",
    "svcca",
]

_ROOMS = (
    "measures",
    "fourier",
    "freeze",
    "core",
    "project",
    "compress",
    "compare",
    "capture",
    "io",
    "report",
    "errors",
)

if not _TYPE_CHECKING:  # a type checker would take every name for one that exists

    def __getattr__(name: str) -> object:
        """Raise AttributeError; for a name that is public in a room, say where."""
        text = f"module {__name__!r} has no attribute {name!r}"
        for room in _ROOMS:
            path = f"{__name__}.{room}"
            module = _sys.modules.get(path)
            if module is not None and name in getattr(module, "__all__", ()):
                # At the root, `compare`, `compress` and `project` are the functions.
                reached = globals().get(room) is module
                raise AttributeError(
                    f"{text}: it is {path}.{name}" if reached else f"{text}: from {path} import {name}"
                )
        raise AttributeError(text)
