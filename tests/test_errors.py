import pytest

from svcca import errors
from svcca.errors import (
    Doubt,
    FileError,
    InputError,
    LayerError,
    NonFiniteError,
    RankError,
    SampleError,
    SolverError,
    SvccaError,
    SvccaWarning,
    UnknownOptionError,
    closest,
    message,
    unknown_option,
)


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (InputError, ValueError),
        (NonFiniteError, ValueError),
        (SampleError, ValueError),
        (RankError, ValueError),
        (UnknownOptionError, ValueError),
        (LayerError, LookupError),
        (FileError, OSError),
        (SolverError, RuntimeError),
    ],
)
def test_every_error_is_caught_as_ours_and_as_pythons_own_kind(error, builtin):
    with pytest.raises(SvccaError, match="text"):
        raise error("text")
    with pytest.raises(builtin, match="text"):
        raise error("text")


def test_no_error_is_left_out_of_the_family():
    ours = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert all(issubclass(kind, SvccaError) for kind in ours if not issubclass(kind, Warning))


def test_the_warning_is_a_user_warning():
    assert issubclass(SvccaWarning, UserWarning)


def test_a_message_says_where_what_why_and_what_to_do():
    text = message("x", "2 dimensions", "3", "It is a map", "Flatten it")
    assert text == "x: expected 2 dimensions; got 3. It is a map. Flatten it."


def test_a_message_leaves_out_what_is_not_known():
    assert message("x", "2 dimensions", "3", "", "Flatten it") == "x: expected 2 dimensions; got 3. Flatten it."


def test_a_message_does_not_double_a_full_stop():
    assert message("x", "a", "b.", "Why.", "Do.") == "x: expected a; got b. Why. Do."


def test_a_message_adds_no_full_stop_to_a_question():
    assert message("x", "a", "b", "", "Did you mean c?") == "x: expected a; got b. Did you mean c?"


def test_the_closest_names_come_best_first():
    assert closest("layer1.conv", ["layer1.conv1", "fc", "layer1.conv2"])[:1] == ["layer1.conv2"]


def test_names_that_are_not_alike_are_not_offered():
    assert closest("zzz", ["layer1", "fc"]) == []


def test_no_more_names_are_offered_than_asked_for():
    assert len(closest("layer", [f"layer{i}" for i in range(9)], limit=2)) == 2


def test_an_unknown_option_lists_the_known_ones_and_the_closest():
    error = unknown_option("compare", "measure", "svca", ["svcca", "pwcca"])
    assert str(error) == "compare: expected measure to be one of svcca, pwcca; got 'svca'. Did you mean 'svcca'?"
    assert isinstance(error, UnknownOptionError)


def test_an_unknown_option_unlike_any_other_is_not_guessed_at():
    error = unknown_option("compare", "measure", 17, iter(["svcca", "pwcca"]))
    assert str(error) == "compare: expected measure to be one of svcca, pwcca; got 17."


def test_a_doubt_is_printed_as_its_text():
    doubt = Doubt("chance", "Noise would give as much.")
    assert str(doubt) == f"{doubt}" == "Noise would give as much."
    assert doubt == Doubt("chance", "Noise would give as much.") != Doubt("forced", "Noise would give as much.")


def test_a_kind_of_doubt_that_does_not_exist_lists_the_known_ones():
    with pytest.raises(UnknownOptionError, match=r"Doubt: expected kind to be one of forced, chance, .*; got 'chanse'"):
        Doubt("chanse", "")


def test_what_to_do_takes_the_place_of_the_closest_name():
    assert str(unknown_option("x", "side", "lef", ["left"], "Turn round")).endswith("got 'lef'. Turn round.")
