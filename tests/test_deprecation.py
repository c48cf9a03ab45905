import inspect
import sys
import types

import pytest

from svcca.deprecation import renamed_argument, renamed_attributes, renamed_function
from svcca.errors import InputError


def truncate(rows, *, rank=2):
    """Return the first rows."""
    return rows[:rank]


keep = renamed_function("keep", truncate, "0.3")
shorten = renamed_argument("k", "rank", "0.3")(truncate)


@pytest.fixture
def module(monkeypatch):
    """A module with an attribute that has moved to another one."""
    module = types.ModuleType("old_room")
    module.__getattr__ = renamed_attributes("old_room", {"Small": "new_room:Truncated"}, "0.3")
    monkeypatch.setitem(sys.modules, "old_room", module)
    monkeypatch.setitem(sys.modules, "new_room", types.SimpleNamespace(Truncated=dict))
    return module


def only(heard):
    """Hold what was heard to one warning, at a line of this file."""
    (warning,) = heard
    assert warning.category is FutureWarning
    assert warning.filename == __file__
    return str(warning.message)


def test_an_old_function_does_what_the_new_one_does_and_warns():
    with pytest.warns(FutureWarning) as heard:
        assert keep([1, 2, 3], rank=1) == [1]
    assert only(heard) == "keep() is now truncate(); svcca 0.3 removes the old name."
    assert keep.__doc__ == truncate.__doc__


def test_an_old_argument_is_the_new_one_and_warns():
    with pytest.warns(FutureWarning) as heard:
        assert shorten([1, 2, 3], k=1) == [1]
    assert only(heard) == "truncate(k=...) is now rank=...; svcca 0.3 removes the old name."


def test_the_new_argument_does_not_warn_and_the_signature_shows_it_alone():
    assert shorten([1, 2, 3], rank=1) == [1]
    assert shorten([1, 2, 3]) == [1, 2]
    assert list(inspect.signature(shorten).parameters) == ["rows", "rank"]


def test_both_names_of_an_argument_are_refused():
    with pytest.raises(InputError, match="truncate: expected one of rank and k, its old name; got both"):
        shorten([1, 2, 3], rank=1, k=1)


def test_an_old_attribute_of_a_module_is_the_new_one_and_warns(module):
    with pytest.warns(FutureWarning) as heard:
        assert module.Small is dict
    assert only(heard) == "old_room.Small is now new_room.Truncated; svcca 0.3 removes the old name."


def test_an_attribute_that_never_was_is_an_attribute_error(module):
    with pytest.raises(AttributeError, match="module 'old_room' has no attribute 'Large'"):
        _ = module.Large
