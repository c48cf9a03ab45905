"""SVCCA and its relatives: compare what neural networks have learned, and act on it.

>>> import svcca, numpy as np
>>> x = np.random.default_rng(0).normal(size=(1000, 20))
>>> result = svcca.svcca(x, x @ np.random.default_rng(1).normal(size=(20, 30)))
>>> round(result.similarity, 6)
1.0
"""

from importlib import metadata as _metadata

from svcca import report as report  # registers the pages that a result's `.report(path)` writes
from svcca.capture.activations import activations
from svcca.capture.observations import Flatten, Fourier, Interpolate, LastToken, MeanToken, Pixels, Pool, Tokens
from svcca.compare.class_dynamics import ClassDynamics, class_dynamics
from svcca.compare.classes import ClassSensitivity, class_sensitivity
from svcca.compare.dynamics import learning_dynamics
from svcca.compare.dynamics_result import LearningDynamics
from svcca.compare.pairs import compare
from svcca.compare.recorder import DynamicsRecorder
from svcca.compare.result import LayerSummary, SimilarityMatrix
from svcca.compress.compress import compress
from svcca.compress.compression_curve import compression_curve
from svcca.compress.compression_report import CompressedLayer, CompressionReport, NetworkCost
from svcca.compress.costs import compression_report
from svcca.compress.curve_result import CompressionCurve, CompressionPoint
from svcca.compress.loading import load_compressed
from svcca.core.coherence import Coherence
from svcca.core.directions import Directions, Projection
from svcca.core.moments import JointMoments, Moments
from svcca.core.subspace import Subspace, SVDStep
from svcca.errors import SvccaError, SvccaWarning
from svcca.fourier.cca import Filters, FourierCCAResult, fourier_cca
from svcca.fourier.translation import TranslationGap, translation_gap
from svcca.freeze import (
    AdaptiveFreezing,
    Block,
    FreezeEvent,
    FreezeSummary,
    FreezeTraining,
    PhaseCost,
    find_blocks,
)
from svcca.io.store import load_activations, save_activations
from svcca.measures import (
    MEASURES,
    CCAResult,
    PCAResult,
    PLSResult,
    Similarity,
    cca,
    linear_cka,
    linear_regression_r2,
    pca,
    permutation_test,
    pls,
    procrustes,
    procrustes_angle,
    procrustes_distance,
    pwcca,
    r2_cca,
    similarities,
    svcca,
    svcca_weighted,
)
from svcca.project.dimensions import IntrinsicDimensions, LayerDimensions, intrinsic_dimensions
from svcca.project.directions import LayerDirections, directions
from svcca.project.distributedness import Distributedness, distributedness
from svcca.project.project import project
from svcca.project.projection_curve import ProjectionCurve, projection_curve

__version__ = _metadata.version("svcca")

__all__ = [
    "MEASURES",
    "AdaptiveFreezing",
    "Block",
    "CCAResult",
    "ClassDynamics",
    "ClassSensitivity",
    "Coherence",
    "CompressedLayer",
    "CompressionCurve",
    "CompressionPoint",
    "CompressionReport",
    "Directions",
    "Distributedness",
    "DynamicsRecorder",
    "Filters",
    "Flatten",
    "Fourier",
    "FourierCCAResult",
    "FreezeEvent",
    "FreezeSummary",
    "FreezeTraining",
    "Interpolate",
    "IntrinsicDimensions",
    "JointMoments",
    "LastToken",
    "LayerDimensions",
    "LayerDirections",
    "LayerSummary",
    "LearningDynamics",
    "MeanToken",
    "Moments",
    "NetworkCost",
    "PCAResult",
    "PLSResult",
    "PhaseCost",
    "Pixels",
    "Pool",
    "Projection",
    "ProjectionCurve",
    "SVDStep",
    "Similarity",
    "SimilarityMatrix",
    "Subspace",
    "SvccaError",
    "SvccaWarning",
    "Tokens",
    "TranslationGap",
    "activations",
    "cca",
    "class_dynamics",
    "class_sensitivity",
    "compare",
    "compress",
    "compression_curve",
    "compression_report",
    "directions",
    "distributedness",
    "find_blocks",
    "fourier_cca",
    "intrinsic_dimensions",
    "learning_dynamics",
    "linear_cka",
    "linear_regression_r2",
    "load_activations",
    "load_compressed",
    "pca",
    "permutation_test",
    "pls",
    "procrustes",
    "procrustes_angle",
    "procrustes_distance",
    "project",
    "projection_curve",
    "pwcca",
    "r2_cca",
    "save_activations",
    "similarities",
    "svcca",
    "svcca_weighted",
    "translation_gap",
]
