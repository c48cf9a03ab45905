"""Rules are found by their files, and a rule brings what concerns a comparison as a whole."""

import importlib
import sys

import numpy as np
import pytest
import torch

import svcca
from svcca.capture import observations
from svcca.capture.observations import Fourier, Interpolate, Observation, Pixels, Pool
from svcca.capture.rules import RULES, common_rule, discovered
from svcca.core import GridAccumulator
from svcca.errors import InputError

NORMS = """
from dataclasses import dataclass
from typing import ClassVar

from svcca.capture.observations import Observation, Pool


@dataclass(frozen=True)
class Norms(Observation):
    name: ClassVar[str] = "norms"

    def rows(self, output, mask, where):
        return output.flatten(2).norm(dim=2)


class Nameless(Norms):
    name: ClassVar[str] = ""
"""


def package(folder, monkeypatch, **files):
    """Import a package of these modules from a folder."""
    (folder / "found_rules").mkdir()
    for name, text in {"__init__": "", **files}.items():
        (folder / "found_rules" / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))
    for name in ("found_rules", *(f"found_rules.{name}" for name in files)):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("found_rules")


def test_a_rule_is_found_by_its_file_alone(tmp_path, monkeypatch):
    found = discovered(package(tmp_path, monkeypatch, norms=NORMS))
    assert list(found) == ["norms"]  # neither the class without a name nor those that the file imports
    assert found["norms"].rows(torch.ones(2, 3, 4), None, "a").tolist() == [[2.0] * 3] * 2


def test_two_rules_of_one_name_are_a_mistake(tmp_path, monkeypatch):
    with pytest.raises(AssertionError, match="two rules of the name 'norms'"):
        discovered(package(tmp_path, monkeypatch, norms=NORMS, again=NORMS))


def test_a_rule_that_was_found_is_taken_by_its_name(tmp_path, monkeypatch):
    found = discovered(package(tmp_path, monkeypatch, norms=NORMS))
    monkeypatch.setattr(svcca.capture.rules, "RULES", {**RULES, **found})
    maps = torch.randn(100, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    assert svcca.compare({"conv": maps}, observe="norms").rows[0].observation == "norms"


def test_every_rule_is_found_under_its_name_with_its_default_options():
    ours = {"flatten", "fourier", "interpolate", "pixels", "pool", "tokens", "last_token", "mean_token"}
    assert ours <= set(RULES)
    assert all(rule.name == name and rule == type(rule)() for name, rule in RULES.items())
    assert {type(RULES[name]).__name__ for name in ours} <= set(observations.__all__)


def test_a_rule_without_rows_cannot_be_made():
    class Empty(Observation):
        pass

    with pytest.raises(TypeError, match="rows"):
        Empty()


@pytest.mark.parametrize(
    ("observe", "rule"),
    [
        ("auto", RULES["flatten"]),
        ("pixels", Pixels()),
        (Fourier(phases=2), Fourier(phases=2)),
        ({"conv": "pool", "*": "flatten"}, RULES["flatten"]),
        ({"conv": Pool(), "*": "fourier"}, Fourier()),
        ({"*": "auto"}, RULES["flatten"]),
        ("pixel", RULES["flatten"]),  # refused once the layers are known
        (Pixels, RULES["flatten"]),
    ],
    ids=str,
)
def test_the_rule_that_is_asked_for_a_whole_comparison(observe, rule):
    assert common_rule(observe) == rule


def test_a_rule_of_ones_own_brings_sums_batches_checks_and_a_remark():
    asked = []

    class Doubled(Pool):
        def accumulator(self, **options):
            asked.append(options)
            return GridAccumulator(**options)

        def presented(self, batches, *, captured):
            asked.append(captured)
            return [2 * batch for batch in batches]

        def check_layers(self, rows, columns):
            asked.append((rows, columns))

        def remark(self, n_samples):
            return f"{n_samples} samples, doubled."

    images = torch.randn(50, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    seen = []
    model = torch.nn.Sequential(torch.nn.Identity())
    model.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    matrix = svcca.compare(model, None, [images], layers="0", observe=Doubled(), progress=False)
    torch.testing.assert_close(seen[0], 2 * images)
    name = "a (Sequential) '0'"
    options = {"self_comparison": True, "keep_rows": False, "memory_budget": None}
    assert asked == [False, options, ({name: (50, 2)}, {name: (50, 2)})]
    assert matrix.warnings[-1] == svcca.errors.Doubt("dependence", "50 samples, doubled.")


def test_interpolate_is_settled_by_the_shapes_of_all_its_layers():
    assert Interpolate().settled([(5, 3, 4, 2), (5, 3), (5, 1, 3, 8)]) == Interpolate((4, 8))
    assert Interpolate((9, 9)).settled([(5, 3, 4, 2)]) == Interpolate((9, 9))


def test_a_mapping_that_gives_every_layer_one_fourier_is_that_rule():
    maps = {"conv": np.random.default_rng(0).normal(size=(60, 2, 4, 4))}
    expected = svcca.compare(maps, observe="fourier")
    assert svcca.compare(maps, observe={"*": "fourier"}).rows == expected.rows


def test_captured_activations_cannot_be_shifted():
    with pytest.raises(InputError, match=r"Fourier phases: expected live models.*; got captured activations"):
        Fourier(phases=2).presented([torch.ones(2, 3, 4, 4)], captured=True)
    batches = [torch.ones(2, 3, 4, 4)]
    assert Fourier().presented(batches, captured=True) is batches


class Failing(Pool):
    """A rule that fails, or returns no tensor, from the batch on that starts with sample 8."""

    def rows(self, output, mask, where):
        if "batch 1" in where:
            return self.fail()
        return super().rows(output, mask, where)

    def fail(self):
        raise KeyError("boom")


def test_an_error_of_an_own_rule_names_the_layer_and_the_batch():
    net, data = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 1)), torch.randn(16, 2, 4, 4).split(8)
    with pytest.raises(KeyError) as caught:
        svcca.compare(net, None, data, observe=Failing(), progress=False)
    assert caught.value.__notes__[0] == "svcca: raised by observation rule Failing on a (Sequential) '0', batch 1"


def test_an_own_rule_that_returns_no_tensor_is_refused_with_the_layer_and_the_batch():
    rule = type("Empty", (Failing,), {"fail": lambda self: None})()
    net, data = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 1)), torch.randn(16, 2, 4, 4).split(8)
    with pytest.raises(InputError, match=r"'0', batch 1: expected a tensor of rows from Empty; got NoneType"):
        svcca.compare(net, None, data, observe=rule, progress=False)


@pytest.mark.parametrize("observe", [Pixels, {"a": Pixels}])
def test_a_rule_passed_as_a_class_says_what_to_write(observe):
    with pytest.raises(InputError, match=r"^observe: expected a rule to be one of auto, .*Write Pixels\(\)"):
        svcca.compare({"a": torch.randn(40, 2, 3, 3)}, observe=observe)
