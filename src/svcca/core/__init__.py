"""Arrays in, numbers out: no models, no layer names, no files, no figures.

Rows are folded into `Moments`, decomposed into a `Subspace` a layer, and paired as a `Coherence`; a `Grid` holds all
pairs of many layers. The measures see a pair through the interface `LayerPair`.
"""

from svcca.core.accumulator import Accumulator, Grid
from svcca.core.arrays import ArrayLike
from svcca.core.coherence import Coherence, Factorisation, LayerPair, LayerSpectrum, PairBlock, Side
from svcca.core.directions import Directions, Form, Projection
from svcca.core.grid import CoherenceGrid, GridAccumulator
from svcca.core.kept import KeptBases, KeptLayers
from svcca.core.linalg import SVD, SingularValues
from svcca.core.moments import JointMoments, Moments
from svcca.core.scatter import Precision
from svcca.core.solvers import Solver, coherence_of
from svcca.core.subspace import WHOLE, CutBy, Subspace, SVDStep

__all__ = [
    "SVD",
    "WHOLE",
    "Accumulator",
    "ArrayLike",
    "Coherence",
    "CoherenceGrid",
    "CutBy",
    "Directions",
    "Factorisation",
    "Form",
    "Grid",
    "GridAccumulator",
    "JointMoments",
    "KeptBases",
    "KeptLayers",
    "LayerPair",
    "LayerSpectrum",
    "Moments",
    "PairBlock",
    "Precision",
    "Projection",
    "SVDStep",
    "Side",
    "SingularValues",
    "Solver",
    "Subspace",
    "coherence_of",
]
