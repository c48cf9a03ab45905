import json
import re
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import reference
import svcca
from cli.running import Bomb, files, refused, run
from svcca.compare.result import SimilarityMatrix

# Saved activations


def test_what_is_written_is_what_compare_gives(here):
    run("compare", "a.npz", "b.npz", "-o", "m.json", "--measure", "linear_cka")
    written = SimilarityMatrix.load(here / "m.json")
    expected = svcca.compare("a.npz", "b.npz", measure="linear_cka")
    assert np.array_equal(written.values, expected.values)
    assert written.measure == "linear_cka"
    assert (written.row_title, written.column_title) == ("a.npz", "b.npz")


def test_the_table_holds_the_numbers_and_the_names(here):
    result = run("compare", "a.npz", "b.npz")
    matrix = svcca.compare("a.npz", "b.npz")
    lines = result.stdout.splitlines()
    for name, values in zip(matrix.row_labels, matrix.values, strict=True):
        (line,) = (line for line in lines if re.search(rf"\b{name}\b.*\d", line))
        assert re.findall(r"\d\.\d{3}", line) == [f"{value:.3f}" for value in values]
    assert "400 samples" in " ".join(lines)
    assert result.stderr == ""


def test_one_file_is_compared_with_itself(here):
    matrix = json.loads(run("compare", "a.npz", "--json").stdout)
    assert np.diag(matrix["values"]) == pytest.approx([1, 1], abs=1e-6)
    assert matrix["row_title"] == matrix["column_title"] == "a.npz"


def test_layers_are_chosen_by_repeated_patterns(here):
    matrix = json.loads(run("compare", "a.npz", "-l", "*", "-l", "!head", "--json").stdout)
    assert [layer["name"] for layer in matrix["rows"]] == ["conv1"]


def test_a_measure_has_its_parameters_as_in_its_label(here):
    matrix = json.loads(run("compare", "a.npz", "--measure", "pwcca(side='x')", "--json").stdout)
    assert matrix["measure"] == "pwcca(side='x')"
    expected = svcca.compare("a.npz", measure=svcca.measures.PWCCA(side="x"))
    assert np.array_equal(matrix["values"], expected.values)


def test_the_command_is_recorded(here, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/svcca", "compare", "a file.npz"])
    assert json.loads(run("compare", "a.npz", "--json").stdout)["command"] == "svcca compare 'a file.npz'"


# Models


def test_two_checkpoints_of_one_model_are_compared(nets):
    words = ["compare", "-m", f"{nets.__name__}:Net", "-c", "0.pt", "-c", "1.pt", "-d", "x.npy", "--json"]
    matrix = json.loads(run(*words).stdout)
    models = [nets.Net(), nets.Net()]
    for seed, model in enumerate(models):
        model.load_state_dict(torch.load(f"{seed}.pt"))
    expected = svcca.compare(*models, np.load("x.npy"))
    assert matrix["values"] == expected.values.tolist()
    assert (matrix["row_title"], matrix["column_title"]) == ("0.pt", "1.pt")


def test_two_checkpoints_of_a_module_object_are_two_networks(nets):
    common = ["compare", "-c", "0.pt", "-c", "1.pt", "-d", "x.npy", "--json"]
    by_factory = json.loads(run(*common, "-m", f"{nets.__name__}:Net").stdout)
    by_object = json.loads(run(*common, "-m", f"{nets.__name__}:ready").stdout)
    assert by_object["values"] == by_factory["values"]


def test_one_checkpoint_is_compared_with_itself(nets):
    words = ["compare", "-m", f"{nets.__name__}:Net", "-c", "0.pt", "-d", "x.npy", "--json"]
    matrix = json.loads(run(*words).stdout)
    assert np.diag(matrix["values"]) == pytest.approx([1, 1], abs=1e-6)
    assert matrix["row_title"] == matrix["column_title"] == "0.pt"


def test_a_model_without_checkpoint_and_two_architectures(nets):
    spec = nets.__name__
    alone = json.loads(run("compare", "-m", f"{spec}:Net", "-d", "x.npy", "--json").stdout)
    assert len(alone["values"]) == 2
    two = json.loads(run("compare", "-m", f"{spec}:Net", "-m", f"{spec}:Wide", "-d", "x.npy", "--json").stdout)
    assert [layer["n_features"] for layer in two["columns"]] == [9, 3]
    assert (two["row_title"], two["column_title"]) == (f"{spec}:Net", f"{spec}:Wide")


def test_a_model_and_saved_activations_are_each_titled_by_their_own_name(nets, here):
    svcca.save_activations(here / "acts.npz", {"one": reference.gaussian(3, 300, 5)})
    words = ["compare", "acts.npz", "-m", f"{nets.__name__}:Net", "-c", "0.pt", "-d", "x.npy", "--json"]
    matrix = json.loads(run(*words).stdout)
    titles = {"fc1": matrix["row_title"], "one": matrix["column_title"]}
    if matrix["rows"][0]["name"] == "one":
        titles = {"one": matrix["row_title"], "fc1": matrix["column_title"]}
    assert titles == {"fc1": "0.pt", "one": "acts.npz"}


def test_weights_in_safetensors_and_under_wrappers_give_the_same_numbers(nets):
    state = torch.load("1.pt")
    save_file(state, "1.safetensors")
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}, "epoch": 2}, "wrapped.pt")
    values = [
        json.loads(
            run("compare", "-m", f"{nets.__name__}:Net", "-c", "0.pt", "-c", name, "-d", "x.npy", "--json").stdout
        )["values"]
        for name in ("1.pt", "1.safetensors", "wrapped.pt")
    ]
    assert values[0] == values[1] == values[2]


def test_data_come_as_an_array_as_keywords_or_from_a_function(nets):
    x = np.load("x.npy")
    np.savez("named.npz", x=x, scale=np.full(300, 2, np.float32))
    np.save("double.npy", 2 * x)
    common = ["compare", "-m", f"{nets.__name__}:Net", "-c", "0.pt", "--json"]
    named, plain, doubled, loader = (
        json.loads(run(*common, "-d", data).stdout)
        for data in ("named.npz", "x.npy", "double.npy", f"{nets.__name__}:loader")
    )
    assert named["values"] == doubled["values"] != plain["values"]
    assert loader["n_samples"] == 300


def test_a_device_can_be_named(nets):
    assert run("compare", "-m", f"{nets.__name__}:Net", "-d", "x.npy", "--device", "cpu").exit_code == 0


@pytest.mark.parametrize("device", ["nonsense", "cuda:63"])
def test_a_device_that_is_not_there_is_refused(nets, capsys, monkeypatch, device):
    words = ["compare", "-m", f"{nets.__name__}:Net", "-d", "x.npy", "--device", device]
    assert device in refused(capsys, monkeypatch, *words)


# Refusals


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["compare"], "expected one or two networks; got 0"),
        (["compare", "missing.npz"], "load missing.npz: expected a file; got none there"),
        (["compare", "a.npz", "b.csv"], "load b.csv: expected activations in .npz or .safetensors; got .csv"),
        (["compare", "a.pt"], "A checkpoint of weights goes with --model and --checkpoint"),
        (
            ["compare", "a.npz", "--measure", "svca"],
            "got 'svca'. Did you mean 'svcca'?",
        ),
        (
            ["compare", "a.npz", "--observe", "pixel"],
            "one of auto, flatten, fourier, interpolate, pixels, pool",
        ),
        (["compare", "a.npz", "-l", "conv2"], "got 'conv2'. Closest: conv1"),
        (["compare", "a.npz", "--retained-variance", "1.5"], "expected a share in (0, 1]; got 1.5"),
        (["compare", "a.npz", "-d", "x.npy"], "data x.npy: expected a file of plain arrays"),
        (["compare", "-c", "a.pt"], "expected --model beside --checkpoint; got none"),
        (["compare", "-m", "nowhere_at_all:f"], "expected a module that can be imported"),
        (["compare", "-m", "torch"], "expected package.module:name; got 'torch'"),
        (["compare", "-m", "torch.nn:ReLU"], "expected data to run a (ReLU) on; got none"),
        (["compare", "a.npz", "b.npz", "-m", "torch.nn:ReLU"], "expected one or two networks; got 3"),
        (["compare", *["-m", "torch.nn:ReLU"] * 2, "-c", "a.pt"], "got 2 models and 1 checkpoints"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_users_error_is_one_message_and_exit_code_1(here, capsys, monkeypatch, words, text):
    before = files(here)
    assert text in refused(capsys, monkeypatch, *words)
    assert files(here) == before


def test_activations_of_unequal_length_are_refused(here, capsys, monkeypatch):
    svcca.save_activations("c.npz", {"x": reference.gaussian(0, 399, 3)})
    assert "as many samples on both sides; got 399" in refused(capsys, monkeypatch, "compare", "a.npz", "c.npz")


def test_code_in_a_checkpoint_is_refused_and_never_run(nets, here, capsys, monkeypatch):
    torch.save(Bomb(here / "mark"), "bad.pt")
    words = ["compare", "-m", f"{nets.__name__}:Net", "-c", "bad.pt", "-d", "x.npy"]
    assert "running code from a file is refused" in refused(capsys, monkeypatch, *words)
    assert not (here / "mark").exists()


def test_a_checkpoint_of_another_architecture_lists_what_does_not_fit(nets, capsys, monkeypatch):
    torch.save({"fc1.weight": torch.ones(6, 4), "conv.weight": torch.ones(1)}, "other.pt")
    words = ["compare", "-m", f"{nets.__name__}:Net", "-c", "other.pt", "-d", "x.npy"]
    said = refused(capsys, monkeypatch, *words)
    assert "missing fc1.bias, fc2.weight, fc2.bias; unexpected conv.weight" in said


def test_nan_in_saved_activations_names_file_layer_and_batch(here, capsys, monkeypatch):
    bad = reference.gaussian(0, 50, 3)
    bad[7, 1] = np.nan
    svcca.save_activations("bad.npz", {"deep": bad})
    assert "bad.npz 'deep', batch 0: expected finite" in refused(capsys, monkeypatch, "compare", "bad.npz")


def test_nothing_is_left_behind_where_the_comparison_fails(here, capsys, monkeypatch):
    svcca.save_activations("c.npz", {"x": np.ones((400, 2))})
    before = files(here)
    refused(capsys, monkeypatch, "compare", "a.npz", "c.npz", "-o", "r.html", "-o", "m.json")
    assert files(here) == before


def test_a_fault_in_the_users_own_code_shows_where_it_is(nets):
    with pytest.raises(RuntimeError, match="a fault in the user's own code"):
        run("compare", "-m", f"{nets.__name__}:failing", "-d", "x.npy")


def test_help_on_compare_shows_examples_as_they_are_typed():
    text = run("compare", "--help").stdout
    assert "svcca compare a.npz b.npz -o report.html" in text
    assert all(option in text for option in ("--model", "--checkpoint", "--data", "--layers", "--json"))
