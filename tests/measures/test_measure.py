"""The base class of measures and the look-up: labels, what a subclass must state, what is refused."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

import reference as ref
from every_measure import EVERY
from svcca.core.coherence import Coherence
from svcca.core.subspace import WHOLE
from svcca.errors import InputError, NonFiniteError, UnknownOptionError
from svcca.measures import MEASURES, PWCCA, SVCCA, Measure, ThresholdedCCA, TopCCA, WeightedSVCCA
from svcca.measures.evaluate import evaluate
from svcca.measures.registry import by_frequency, get_measure, get_measures

PAIR = Coherence.from_rows(*ref.related(0, 80, 4, 3))


@dataclass(frozen=True)
class Power(Measure):
    """Mean of a power of the correlations."""

    exponent: float = 2.0
    scale: float = 1.0

    name = "power"
    definition = "mean of a power of the canonical correlations"

    def value(self, pair):
        return self.scale * (pair.correlations**self.exponent).mean()  # a tensor of one number, as a user may return


@pytest.mark.parametrize(
    ("measure", "label"),
    [
        (SVCCA(), "svcca"),
        (PWCCA(), "pwcca"),
        (PWCCA(side="narrower"), "pwcca"),
        (PWCCA(side="x"), "pwcca(side='x')"),
        (PWCCA(side="mean", squared=True), "pwcca(side='mean', squared=True)"),
        (WeightedSVCCA(side="y"), "svcca_weighted(side='y')"),
        (TopCCA(), "cca_top"),
        (TopCCA(k=5), "cca_top(k=5)"),
        (Power(), "power"),
        (Power(scale=0.5), "power(scale=0.5)"),
    ],
)
def test_a_label_names_the_parameters_that_are_not_the_default(measure, label):
    assert measure.label == label
    assert evaluate(measure, PAIR, WHOLE).measure == label


def test_measures_of_the_same_parameters_are_equal():
    assert PWCCA(side="x") == PWCCA(side="x") != PWCCA()
    assert len({PWCCA(), PWCCA("narrower"), SVCCA()}) == 2


@pytest.mark.parametrize("label", EVERY)
def test_a_measure_is_frozen(label):
    with pytest.raises(AttributeError):
        EVERY[label].side = "x"


def test_the_registry_cannot_be_written_to():
    with pytest.raises(TypeError, match="does not support item assignment"):
        MEASURES["mine"] = Power()


@pytest.mark.parametrize("missing", ["name", "definition", "value"])
def test_a_measure_without_a_name_a_definition_or_a_value_cannot_be_made(missing):
    stated = {"name": "n", "definition": "d", "value": lambda self, pair: 0.0}
    kind = type("Mine", (Measure,), {key: part for key, part in stated.items() if key != missing})
    with pytest.raises(TypeError, match=rf"Can't instantiate abstract class Mine.*'?{missing}'?"):
        kind()


def test_a_measure_that_states_no_more_has_the_defaults():
    measure = Power()
    flags = (measure.svd_step, measure.from_correlations, measure.needs_rows, measure.needs_vectors)
    assert flags == (False,) * 4
    assert measure.symmetric
    assert measure.by_frequency


def test_a_chance_level_that_is_not_known_is_nan_and_warned_of_by_nothing():
    noise = Coherence.from_rows(ref.gaussian(0, 20, 15), ref.gaussian(1, 20, 15))
    result = evaluate(Power(), noise, WHOLE)
    assert np.isnan(result.chance)
    assert result.warnings == ()
    assert type(result.similarity) is float


@pytest.mark.parametrize("value", [float("nan"), float("inf"), torch.tensor(float("nan"))])
def test_a_value_that_is_not_finite_is_refused_with_the_pair_and_the_measure(value):
    kind = type("Broken", (Power,), {"value": lambda self, pair: value})
    with pytest.raises(NonFiniteError, match=r"^power of fc1 x fc2: expected a finite value; got (nan|inf)"):
        evaluate(kind(), PAIR, WHOLE, "fc1 x fc2")


def test_an_infinite_chance_level_is_refused():
    kind = type("Broken", (Power,), {"chance": lambda self, pair: float("inf")})
    with pytest.raises(NonFiniteError, match="with a chance level of inf"):
        evaluate(kind(), PAIR, WHOLE)


# -- the look-up ------------------------------------------------------------------------------------------------------


def test_the_look_up_takes_a_name_or_a_measure():
    own = Power()
    assert get_measure("svcca") == SVCCA()
    assert get_measure(own) is own
    assert get_measures("svcca") == [SVCCA()]
    assert get_measures(own) == [own]
    assert get_measures((own, "svcca")) == [own, SVCCA()]


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("pwcca_x", r"PWCCA\(side='x'\)"),
        ("pwcca_y", r"PWCCA\(side='y'\)"),
        ("pwcca_mean", r"PWCCA\(side='mean'\)"),
        ("pwcca_squared", r"PWCCA\(squared=True\)"),
        ("svcca_weighted_y", r"WeightedSVCCA\(side='y'\)"),
        ("svcca_weighted_mean", r"WeightedSVCCA\(side='mean'\)"),
    ],
)
def test_a_name_that_once_had_a_side_in_it_says_what_to_write(name, written):
    label = name.rpartition("_")[0] + written[written.index("\\") :]
    remedy = rf'Write "{label}" or svcca\.measures\.{written}\.$'
    with pytest.raises(UnknownOptionError, match=rf"one of .*svcca, .*; got '{name}'\. {remedy}"):
        get_measure(name)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (PWCCA, r"a name or a Measure; got the class PWCCA\. Write PWCCA\(\)"),
        (3, "a name or a Measure; got 3"),
        (["svcca", 3], "a name or a Measure; got 3"),
        ([], "at least one measure; got none"),
        (["cca", "cca"], "each measure once; got 'cca' twice"),
    ],
    ids=["class", "number", "number in a list", "none", "twice"],
)
def test_what_is_no_measure_is_refused(wrong, text):
    with pytest.raises(InputError, match=f"^measure: expected {text}"):
        get_measures(wrong)


def test_an_own_measure_that_is_not_defined_by_frequency_is_refused_there():
    own = type("Mine", (Power,), {"by_frequency": False})()
    with pytest.raises(UnknownOptionError, match=r"observe='fourier': .* got 'power'"):
        by_frequency(own)
    assert by_frequency(Power()) == Power()


@pytest.mark.parametrize("label", EVERY)
def test_a_label_names_its_measure(label):
    assert get_measure(label) == EVERY[label]
    assert get_measure(label).label == label


@pytest.mark.parametrize("measure", [TopCCA(5), ThresholdedCCA(0.5), PWCCA("x", squared=True), TopCCA(np.int64(3))])
def test_a_label_with_parameters_is_read_as_results_show_it(measure):
    assert get_measure(measure.label) == measure
    assert get_measures(["cca", f" {measure.label} "]) == [MEASURES["cca"], measure]


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("pwca(side='x')", "measure to be one of .*pwcca.*; got 'pwca'. Did you mean 'pwcca'"),
        ("pwcca(sid='x')", "pwcca: expected the parameter to be one of side, squared; got 'sid'. Did you mean 'side'"),
        ("pwcca(side='z')", "pwcca: expected side to be one of narrower, x, y, mean; got 'z'"),
        ("svcca(side='x')", "svcca: expected no parameters; got 'side'"),
    ],
)
def test_a_label_of_an_unknown_name_or_parameter_lists_the_known_ones(label, text):
    with pytest.raises(UnknownOptionError, match=text):
        get_measure(label)


@pytest.mark.parametrize(
    "label",
    [
        "pwcca(side=x)",
        "pwcca('x')",
        "pwcca(side='x'",
        "pwcca(**{'side': 'x'})",
        "pwcca(side=[].append(1))",
        "pwcca(side='x') or 1",
        "pwcca(side='x')(side='y')",
        "cca_top(k=__import__('os').getpid())",
        "pwcca(side=[])",
        "pwcca(" * 3000,
    ],
)
def test_a_label_is_a_name_with_literals_and_nothing_is_evaluated(label):
    with pytest.raises(InputError, match=r"^measure: expected (a name, or a label|parameters that the measure takes)"):
        get_measure(label)


def test_an_array_as_a_parameter_is_shown_where_it_is_not_the_default():
    @dataclass(frozen=True)
    class Weighted(Power):
        weights: object = None

    assert Weighted().label == "power"
    assert Weighted(weights=np.array([1, 2])).label == "power(weights=array([1, 2]))"
    default = torch.tensor([1, 2])
    kind = dataclass(frozen=True)(type("Mine", (Power,), {"__annotations__": {"weights": object}, "weights": default}))
    assert kind().label == "power"
