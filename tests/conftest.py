"""Settings every test runs under."""

import torch
from hypothesis import settings

settings.register_profile("svcca", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("svcca")

# The matrices of tests are small: a second thread costs more than it brings, and much more on a busy machine.
torch.set_num_threads(1)
