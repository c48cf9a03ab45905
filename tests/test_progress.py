import io
import sys

import pytest
from torch.utils.data import DataLoader, IterableDataset

from svcca.progress import track


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Put a terminal in place of standard error; called by the test, for pytest puts its own there before it."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")

    def attach():
        stream = Terminal()
        monkeypatch.setattr(sys, "stderr", stream)
        return stream

    return attach


@pytest.mark.parametrize("show", [True, False, None])
def test_what_is_tracked_comes_through_in_order(capsys, show):
    assert list(track(iter("abc"), "Letters", show)) == ["a", "b", "c"]
    assert capsys.readouterr().out == ""


def test_a_bar_is_shown_on_a_terminal(terminal):
    screen = terminal()
    list(track(range(3), "Batches", None))
    assert "Batches" in screen.getvalue()


def test_nothing_is_shown_where_it_is_not_wanted(terminal):
    screen = terminal()
    list(track(range(3), "Batches", False))
    assert screen.getvalue() == ""


def test_nothing_is_shown_where_there_is_no_terminal(capsys):
    list(track(range(3), "Batches", None))
    assert capsys.readouterr().err == ""


def test_the_total_is_shown_where_it_is_known(terminal):
    screen = terminal()
    list(track([1, 2, 3], "Batches", True))
    assert "3/3" in screen.getvalue()


class Endless(IterableDataset):
    def __iter__(self):
        return iter([0.0, 1.0, 2.0])


class LengthRaises:
    def __len__(self):
        raise TypeError("unknown")

    def __iter__(self):
        return iter([1, 2])


@pytest.mark.parametrize(
    ("items", "expected"),
    [((i for i in (1, 2)), [1, 2]), (LengthRaises(), [1, 2]), (DataLoader(Endless(), batch_size=None), [0, 1, 2])],
    ids=["generator", "length raises", "stream"],
)
def test_what_has_no_length_is_tracked_without_a_total(terminal, items, expected):
    screen = terminal()
    assert list(track(items, "Batches", True)) == expected
    assert "Batches" in screen.getvalue()


def test_an_error_passes_through_and_the_bar_is_gone(terminal):
    screen = terminal()

    def failing():
        yield 1
        raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        list(track(failing(), "Batches", True))
    assert "Batches" in screen.getvalue()
    assert screen.getvalue().endswith("\x1b[2K")  # the line is erased


def test_items_are_not_taken_before_they_are_wanted():
    taken = []
    stream = track((taken.append(i) or i for i in range(5)), "Batches", False)
    next(stream)
    assert taken == [0]
