"""Project layers onto their first k directions, and what that is worth.

`svcca.project` is the function; the names of this room are imported by `from svcca.project import ...`.
"""

from svcca.project.dimensions import IntrinsicDimensions, LayerDimensions, intrinsic_dimensions
from svcca.project.directions import Against, LayerDirections, directions
from svcca.project.distributedness import Distributedness, distributedness
from svcca.project.layer_moments import LayerMoments
from svcca.project.project import project
from svcca.project.projection_curve import ProjectionCurve, projection_curve

__all__ = [
    "Against",
    "Distributedness",
    "IntrinsicDimensions",
    "LayerDimensions",
    "LayerDirections",
    "LayerMoments",
    "ProjectionCurve",
    "directions",
    "distributedness",
    "intrinsic_dimensions",
    "project",
    "projection_curve",
]
