"""Settings every test runs under."""

import sys

import pytest
import torch
from hypothesis import settings

settings.register_profile("svcca", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("svcca")

# The matrices of tests are small: a second thread costs more than it brings, and much more on a busy machine.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _figures_are_closed():
    """Close what a test drew: pyplot keeps its figures, and warns from the twentieth on."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
