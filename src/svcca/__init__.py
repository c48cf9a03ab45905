"""SVCCA and its relatives: compare what neural networks have learned, and act on it.

>>> import svcca, numpy as np
>>> x = np.random.default_rng(0).normal(size=(1000, 20))
>>> result = svcca.svcca(x, x @ np.random.default_rng(1).normal(size=(20, 30)))
>>> round(result.similarity, 6)
1.0
"""

from importlib import metadata as _metadata

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
