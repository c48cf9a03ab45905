"""Networks, checkpoints and classes held against each other, and the labelled results that come out.

`svcca.compare` is the function; the names of this room are imported by `from svcca.compare import ...`.
"""

from svcca.compare.by_measure import ByMeasure
from svcca.compare.class_dynamics import class_dynamics
from svcca.compare.class_dynamics_result import ClassDynamics
from svcca.compare.class_result import ClassSensitivity
from svcca.compare.classes import class_sensitivity
from svcca.compare.dynamics import learning_dynamics
from svcca.compare.dynamics_result import LearningDynamics
from svcca.compare.pairs import Network, compare
from svcca.compare.recorder import DynamicsRecorder
from svcca.compare.result import LayerSummary, SimilarityMatrix

__all__ = [
    "ByMeasure",
    "ClassDynamics",
    "ClassSensitivity",
    "DynamicsRecorder",
    "LayerSummary",
    "LearningDynamics",
    "Network",
    "SimilarityMatrix",
    "class_dynamics",
    "class_sensitivity",
    "compare",
    "learning_dynamics",
]
