"""Observation rules: what counts as a sample and what as a feature in a layer's output. A file a rule, or a family."""

from svcca.capture.observations.base import Observation
from svcca.capture.observations.flatten import Flatten
from svcca.capture.observations.fourier import Fourier
from svcca.capture.observations.interpolate import Interpolate
from svcca.capture.observations.pixels import Pixels
from svcca.capture.observations.pool import Pool
from svcca.capture.observations.shapes import size_in_words
from svcca.capture.observations.tokens import LastToken, MeanToken, Tokens

__all__ = [
    "Flatten",
    "Fourier",
    "Interpolate",
    "LastToken",
    "MeanToken",
    "Observation",
    "Pixels",
    "Pool",
    "Tokens",
    "size_in_words",
]
