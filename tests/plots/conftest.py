import sys

import pytest


@pytest.fixture(autouse=True)
def _without_pyplot(monkeypatch):
    """As in a program that never imported it; whoever did before these tests keeps it."""
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
