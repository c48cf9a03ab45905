from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from svcca.capture.layers import ROOT, as_patterns, is_leaf, match_names, named_layers, tensors_in, unmatched, unwrap
from svcca.errors import LayerError

NAMES = ["conv1", "layer1.0.conv", "layer1.0.bn", "layer2.0.conv", "head"]


def test_a_name_selects_itself_alone():
    assert match_names([*NAMES, "conv10"], ["conv1"]) == (["conv1"], [])


def test_a_glob_selects_in_the_models_order_not_the_patterns():
    kept, idle = match_names(NAMES, ["head", "layer?.*", "conv1"])
    assert (kept, idle) == (NAMES, [])


def test_a_question_mark_stands_for_one_character():
    assert match_names(["layer1.x", "layer10.x"], ["layer?.x"])[0] == ["layer1.x"]


def test_an_exclamation_mark_takes_layers_out_wherever_it_stands():
    for patterns in (["layer*", "!*.bn"], ["!*.bn", "layer*"]):
        assert match_names(NAMES, patterns) == (["layer1.0.conv", "layer2.0.conv"], [])


def test_exclusions_alone_leave_everything_else():
    assert match_names(NAMES, ["!head", "!*.bn"])[0] == ["conv1", "layer1.0.conv", "layer2.0.conv"]


def test_patterns_that_fit_nothing_are_given_back_exclusions_included():
    assert match_names(NAMES, ["conv1", "nothing", "!neither"]) == (["conv1"], ["nothing", "neither"])


def test_an_exclusion_of_everything_keeps_nothing():
    assert match_names(NAMES, ["*", "!*"])[0] == []


def test_a_name_that_reads_like_a_character_class_selects_itself():
    assert match_names(["state[0]", "state0"], ["state[0]"])[0] == ["state[0]", "state0"]


def test_case_matters():
    assert match_names(["Conv", "conv"], ["c*"])[0] == ["conv"]


def test_one_name_is_a_list_of_one():
    assert as_patterns("fc") == ["fc"]
    assert as_patterns(("a", "b")) == ["a", "b"]
    assert as_patterns(None) is None


def test_an_unknown_layer_offers_the_closest_names_first():
    error = unmatched("layers of a", ["layer1.0.con"], NAMES)
    assert isinstance(error, LayerError)
    assert "layers of a: expected names or patterns of layers that are there; got 'layer1.0.con'." in str(error)
    assert "Closest: layer1.0.conv," in str(error)


def test_an_unknown_layer_like_no_other_lists_what_there_is():
    assert str(unmatched("layers of a", ["zzz"], NAMES)).endswith(f"There are: {', '.join(NAMES)}.")


def test_a_long_list_is_cut_and_says_how_much_is_missing():
    text = str(unmatched("layers of a", ["zzz"], [f"block{i}" for i in range(20)]))
    assert text.endswith("block6, block7 and 12 more.")


def test_a_layer_error_is_a_lookup_error():
    assert issubclass(LayerError, LookupError)


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda m: m])
def test_data_parallel_is_taken_off(wrap):
    inner = nn.Sequential(nn.Linear(2, 2))
    assert unwrap(wrap(inner)) is inner


class Compiled(nn.Module):
    """What torch.compile returns keeps the model under this name."""

    def __init__(self, inner):
        super().__init__()
        self._orig_mod = inner

    def forward(self, x):
        return self._orig_mod(x)


def test_wrappers_in_wrappers_are_taken_off():
    inner = nn.Linear(2, 2)
    assert unwrap(nn.DataParallel(Compiled(nn.DataParallel(inner)))) is inner


def test_torch_compile_itself_is_taken_off():
    inner = nn.Linear(2, 2)
    assert unwrap(torch.compile(inner, backend="eager")) is inner


def test_a_model_with_a_child_named_module_is_no_wrapper():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.module = nn.Linear(2, 2)

    net = Net()
    assert unwrap(net) is net


def test_a_module_without_children_is_a_leaf():
    assert is_leaf(nn.ReLU())
    assert not is_leaf(nn.Sequential(nn.ReLU()))


def test_a_model_that_is_one_layer_has_a_label_of_its_own():
    assert list(named_layers(nn.Linear(2, 2))) == [ROOT]


def test_layers_are_named_as_torch_names_them_without_the_root():
    net = nn.Sequential(OrderedDict(a=nn.Sequential(nn.ReLU()), b=nn.Linear(1, 1)))
    assert list(named_layers(net)) == ["a", "a.0", "b"]


def test_a_module_under_two_names_has_both():
    relu = nn.ReLU()
    assert list(named_layers(nn.Sequential(relu, relu))) == ["0", "1"]


@dataclass
class Output:
    logits: torch.Tensor
    state: tuple = ()
    note: str = "text"


Pair = namedtuple("Pair", "first second")
ONE, TWO, INT = torch.ones(1), torch.full((1,), 2.0), torch.ones(1, dtype=torch.long)


@pytest.mark.parametrize(
    ("output", "paths"),
    [
        (ONE, [""]),
        (INT, []),
        (None, []),
        ((ONE, TWO), ["0", "1"]),
        ([INT, ONE, None], ["1"]),
        ({"a": ONE, "b": {"c": TWO}}, ["a", "b.c"]),
        (Pair(ONE, TWO), ["0", "1"]),
        (Output(ONE, (TWO, INT, ONE)), ["logits", "state.0", "state.2"]),
        ((ONE, (TWO, ONE)), ["0", "1.0", "1.1"]),
        (torch.ones(1, dtype=torch.complex64), [""]),
        (torch.ones(1, dtype=torch.bool), []),
        (Output, []),
        ("text", []),
    ],
    ids=str,
)
def test_tensors_are_found_by_their_paths_depth_first(output, paths):
    assert [path for path, _ in tensors_in(output)] == paths


def test_the_tensors_found_are_those_of_the_output():
    found = dict(tensors_in(Output(ONE, (TWO,))))
    assert found["logits"] is ONE
    assert found["state.0"] is TWO
