"""Settings every test runs under."""

from hypothesis import settings

settings.register_profile("svcca", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("svcca")
