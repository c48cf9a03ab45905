"""Labels and numbers as they are written."""

from svcca.plots.text import elide, interval, number


def test_a_long_name_is_shortened_from_its_middle():
    assert elide("a" * 30 + "b" * 30, 11) == "aaaaa…bbbbb"
    assert elide("short", 11) == "short"


def test_numbers_have_no_negative_zero():
    assert (number(-1e-9, 2), number(-0.456, 2)) == ("0.00", "-0.46")


def test_a_range_that_prints_alike_is_one_number():
    assert (interval(0.101, 0.102), interval(0.1, 0.2)) == ("0.10", "0.10–0.20")
