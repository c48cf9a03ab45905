"""Freeze Training: stop training the layers that have converged."""

from svcca.freeze.blocks import Block, BlockSpec, find_blocks
from svcca.freeze.convergence import AdaptiveFreezing, When
from svcca.freeze.freeze_training import FreezeTraining
from svcca.freeze.schedules import Schedule
from svcca.freeze.summary import FreezeEvent, FreezeSummary, PhaseCost

__all__ = [
    "AdaptiveFreezing",
    "Block",
    "BlockSpec",
    "FreezeEvent",
    "FreezeSummary",
    "FreezeTraining",
    "PhaseCost",
    "Schedule",
    "When",
    "find_blocks",
]
