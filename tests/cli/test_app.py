import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

import reference
import svcca
from svcca.cli import app as cli
from svcca.compare.by_measure import ByMeasure
from svcca.compare.result import SimilarityMatrix

NETS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x, scale=None):
        x = x if scale is None else x * scale[:, None]
        return self.fc2(torch.tanh(self.fc1(x)))

class Wide(Net):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 9), nn.Linear(9, 3)

ready = Net()

def accuracy(model):
    x = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return -float((model(x) - ready(x)).square().mean())

def loader():
    x = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
    return [(part, None) for part in x.split(100)]

def failing():
    raise RuntimeError("a fault in the user's own code")
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with two networks' activations in it."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate("ab"):
        x = reference.gaussian(9, 400, 5)
        layers = {"conv1": x + reference.gaussian(seed, 400, 5), "head": np.tanh(x[:, :3])}
        svcca.save_activations(tmp_path / f"{name}.npz", layers)
    return tmp_path


@pytest.fixture
def nets(here):
    """The name of a module of nets there, with weights of two seeds and inputs; it is forgotten afterwards."""
    name = f"nets_{here.name.replace('-', '_')}"
    (here / f"{name}.py").write_text(NETS)
    sys.path.insert(0, str(here))
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)  # of the model that it holds, whatever tests ran before
            module = __import__(name)
    finally:
        sys.path.remove(str(here))
    for seed in (0, 1):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            torch.save(module.Net().state_dict(), here / f"{seed}.pt")
    np.save(here / "x.npy", reference.gaussian(0, 300, 4).astype(np.float32))
    yield module
    del sys.modules[name]


def run(*words):
    """Run the command in this process, by way of `main`, as the installed script does."""
    return CliRunner().invoke(cli.app, [str(word) for word in words], catch_exceptions=False)


def fails(capsys, monkeypatch, *words):
    """Run the command through `main`; give the exit code and what it says."""
    monkeypatch.setattr(sys, "argv", ["svcca", *map(str, words)])
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return stopped.value.code, capsys.readouterr()


def refused(capsys, monkeypatch, *words):
    """A user's error: exit code 1, one message on standard error, nothing else."""
    code, said = fails(capsys, monkeypatch, *words)
    assert code == 1
    assert said.out == ""
    assert said.err.startswith("svcca: ")
    assert "Traceback" not in said.err
    return said.err


def files(folder):
    return sorted(path.name for path in folder.iterdir())


# Saved activations


def test_a_report_a_matrix_and_a_figure_are_written_and_named(here):
    outputs = [
        f"{stem}{suffix}" for stem, suffix in zip("rmfgh", (".html", ".json", ".png", ".pdf", ".svg"), strict=True)
    ]
    result = run("compare", "a.npz", "b.npz", *(word for name in outputs for word in ("-o", name)))
    assert result.exit_code == 0
    assert [line for line in result.stdout.splitlines() if line.startswith("Wrote")] == [f"Wrote {o}" for o in outputs]
    assert files(here) == sorted(["a.npz", "b.npz", *outputs])
    assert (here / "r.html").read_text(encoding="utf-8").lstrip().lower().startswith("<!doctype html>")
    assert (here / "f.png").read_bytes().startswith(b"\x89PNG")
    assert (here / "g.pdf").read_bytes().startswith(b"%PDF")
    assert "<svg" in (here / "h.svg").read_text(encoding="utf-8")


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


def test_the_table_holds_the_numbers_of_many_layers_in_a_narrow_window(here, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    layers = {f"encoder.layer.{i}": reference.gaussian(i, 400, 3) for i in range(24)}
    svcca.save_activations(here / "many.npz", layers)
    result = run("compare", "many.npz")
    assert len(re.findall(r"\d\.\d{3}", result.stdout)) >= 24 * 24


def test_names_that_read_like_markup_are_printed_as_they_are(here):
    svcca.save_activations(here / "c.npz", {"[bold]x[/bold]": reference.gaussian(0, 400, 3)})
    assert "[bold]x[/bold]" in run("compare", "c.npz").stdout


def test_json_is_printed_alone_and_is_what_is_saved(here):
    result = run("compare", "a.npz", "b.npz", "--json", "-o", "m.json")
    assert json.loads(result.stdout) == json.loads((here / "m.json").read_text())
    assert result.stderr == ""


def test_quiet_prints_nothing_and_writes_all_the_same(here):
    result = run("compare", "a.npz", "-q", "-o", "m.json")
    assert (result.stdout, result.stderr) == ("", "")
    assert SimilarityMatrix.load(here / "m.json").row_labels == ("conv1", "head")


def test_one_file_is_compared_with_itself(here):
    matrix = json.loads(run("compare", "a.npz", "--json").stdout)
    assert np.diag(matrix["values"]) == pytest.approx([1, 1], abs=1e-6)
    assert matrix["row_title"] == matrix["column_title"] == "a.npz"


def test_several_measures_are_printed_one_after_the_other_and_written_as_one_document(here):
    words = ("compare", "a.npz", "b.npz", "--measure", "linear_cka", "--measure", "svcca")
    printed = run(*words, "-o", "m.json").stdout
    assert printed.index("linear_cka over") < printed.index("svcca over")
    written = ByMeasure.load(here / "m.json")
    for name in ("linear_cka", "svcca"):
        assert np.array_equal(written[name].values, svcca.compare("a.npz", "b.npz", measure=name).values)
        assert (written[name].row_title, written[name].column_title) == ("a.npz", "b.npz")
    assert [one["measure"] for one in json.loads(run(*words, "--json").stdout)["results"]] == ["linear_cka", "svcca"]


def test_layers_are_chosen_by_repeated_patterns(here):
    matrix = json.loads(run("compare", "a.npz", "-l", "*", "-l", "!head", "--json").stdout)
    assert [layer["name"] for layer in matrix["rows"]] == ["conv1"]


def test_warnings_are_printed_once_on_standard_error_and_recorded(here):
    svcca.save_activations(here / "few.npz", {"x": reference.gaussian(0, 10, 8), "y": reference.gaussian(1, 10, 8)})
    result = run("compare", "few.npz", "-o", "m.json")
    (warning,) = SimilarityMatrix.load(here / "m.json").warnings
    assert result.stderr == f"Note: {warning.text}\n"


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


# Compression


def compress(nets, *words):
    return ["compress", "-m", f"{nets.__name__}:Net", "-c", "0.pt", "-d", f"{nets.__name__}:loader", *words]


def network(nets, seed=0):
    model = nets.Net()
    model.load_state_dict(torch.load(f"{seed}.pt"))
    return model


@pytest.mark.parametrize("output", ["smaller.pt", "smaller.safetensors"])
@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["--ratio", "0.8"], {"ratio": 0.8}),
        (["--ranks", "2"], {"ranks": 2}),
        (["--ranks", "0.5", "-l", "fc2"], {"ranks": 0.5, "layers": "fc2"}),
        (
            ["--ranks", "fc1=1", "--ranks", "fc2=0.5", "--against", "pca"],
            {"ranks": {"fc1": 1, "fc2": 0.5}, "against": "pca"},
        ),
    ],
)
def test_a_checkpoint_is_compressed_as_compress_does_and_can_be_loaded(nets, here, words, options, output):
    before = files(here)
    result = run(*compress(nets, *words, "-o", output))
    assert files(here) == sorted([*before, output])
    expected = svcca.compress(network(nets), nets.loader(), **options)
    loaded = svcca.load_compressed(nets.Net(), output)
    x = nets.loader()[0][0]
    assert torch.equal(loaded(x), expected(x))
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0].startswith("Net, a batch of 100 on cpu")
    assert lines[-2:] == [
        f"Wrote {output}",
        f"Load it with svcca.load_compressed(model, {output!r}), where model is what {nets.__name__}:Net gives.",
    ]


def test_another_seeds_checkpoint_gives_the_directions(nets):
    run(*compress(nets, "--ranks", "2", "--against-checkpoint", "1.pt", "-o", "s.pt"))
    expected = svcca.compress(network(nets), nets.loader(), ranks=2, against=network(nets, 1))
    assert all(torch.equal(tensor, torch.load("s.pt")[name]) for name, tensor in expected.state_dict().items())


def test_a_loss_is_measured_by_a_function_of_the_users_and_reported(nets):
    words = ["--max-loss", "0.01", "-e", f"{nets.__name__}:accuracy", "-o", "s.pt", "--report", "report.json"]
    result = run(*compress(nets, *words))
    smaller = svcca.compress(network(nets), nets.loader(), max_loss=0.01, evaluate=nets.accuracy)
    report = svcca.CompressionReport.load("report.json")
    assert report.after.accuracy == nets.accuracy(smaller)
    assert report.before.accuracy == nets.accuracy(network(nets))
    assert report.after.parameters == sum(parameter.numel() for parameter in smaller.parameters())
    assert report.n_samples == 100
    assert str(report) in result.stdout
    assert "Wrote report.json" in result.stdout


def test_it_is_exported_for_any_number_of_samples(nets):
    result = run(*compress(nets, "--ranks", "2", "-o", "s.pt", "--export", "s.pt2"))
    assert "Wrote s.pt2" in result.stdout
    loaded = torch.export.load("s.pt2")
    assert loaded.example_inputs is None  # the data are not in the file
    program = loaded.module()
    smaller = svcca.load_compressed(nets.Net(), "s.pt")
    for n in (100, 7):
        x = torch.randn(n, 4)
        assert torch.allclose(program(x), smaller(x), rtol=0, atol=1e-6)


def test_an_exported_network_is_called_by_the_names_of_the_data(nets):
    np.savez("named.npz", x=np.load("x.npy"), scale=np.full(300, 2, np.float32))
    words = ["compress", "-m", f"{nets.__name__}:Net", "-d", "named.npz", "--ranks", "2", "-o", "s.pt"]
    run(*words, "--export", "s.pt2")
    smaller, x, scale = svcca.load_compressed(nets.Net(), "s.pt"), torch.randn(7, 4), torch.rand(7)
    assert torch.allclose(torch.export.load("s.pt2").module()(x=x, scale=scale), smaller(x, scale), rtol=0, atol=1e-6)


def test_the_report_is_printed_as_json_alone_or_not_at_all(nets):
    result = run(*compress(nets, "--ranks", "2", "-o", "s.pt", "--report", "r.json", "--json"))
    assert json.loads(result.stdout) == json.loads(Path("r.json").read_text())
    result = run(*compress(nets, "--ranks", "2", "-o", "s.pt", "-q"))
    assert (result.stdout, result.stderr) == ("", "")


def test_what_must_be_known_is_said_on_standard_error(nets):
    values = iter([1.0] + [0.0] * 20)
    nets.worse = lambda model: next(values)
    result = run(*compress(nets, "--max-loss", "0", "-e", f"{nets.__name__}:worse", "-o", "s.pt", "-q"))
    assert result.stderr.startswith("Note: No layer was compressed: the least that was tried")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "compress: expected one of ratio, ranks and max_loss; got none of them"),
        (["--ratio", "0.5", "--ranks", "2"], "expected one of ratio, ranks and max_loss; got ratio, ranks"),
        (["--ratio", "1.5"], "compress ratio: expected a share in (0, 1]; got 1.5"),
        (["--ratio", "0.01"], "One direction a layer takes"),
        (["--ranks", "many"], "ranks: expected numbers, shares, or layer=number; got many"),
        (["--ranks", "2", "--ranks", "fc1=2"], "ranks: expected one number for all layers, or layer=number for each"),
        (["--ranks", "fc3=2"], "compress ranks: expected names of layers; got 'fc3'"),
        (["--ranks", "9"], "compress ranks of 'fc1': expected a number of directions from 1 to its 4 inputs"),
        (["--max-loss", "0.1"], "evaluate= to measure it"),
        (["--max-loss", "0.1", "-e", "NETS:nothing"], "expected a name in"),
        (["--max-loss", "0.1", "-e", "NETS:number"], "expected a function; got int"),
        (["--ratio", "0.8", "--against", "logit"], "Did you mean 'logits'?"),
        (
            ["--ratio", "0.8", "--against", "pca", "--against-checkpoint", "1.pt"],
            "one of --against and --against-c",
        ),
        (["--ratio", "0.8", "-l", "conv"], "layers of Net: expected names or patterns of layers that are there"),
        (["--ratio", "0.8", "-c", "none.pt"], "checkpoint none.pt: expected a file; got none there"),
        (["--ratio", "0.8", "-d", "none.npy"], "data none.npy: expected a file of plain arrays"),
        (["--ratio", "0.8", "-d", "NETS:none"], "data for Net: expected at least 2 samples; got 0 samples"),
        (["--ratio", "0.8", "-o", "s.pth"], "output s.pth: expected a name that ends in .pt, .safetensors; got .pth"),
        (["--ratio", "0.8", "-o", "s"], "a name that ends in .pt, .safetensors; got no ending"),
        (["--ratio", "0.8", "--report", "r.html"], "output r.html: expected a name that ends in .json; got .html"),
        (
            ["--ratio", "0.8", "--export", "no/s.pt2"],
            "output no/s.pt2: expected a folder that exists",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_compressed_is_one_message_and_writes_nothing(nets, here, capsys, monkeypatch, words, text):
    nets.number, nets.none = 3, []
    before = files(here)
    words = [word.replace("NETS", nets.__name__) for word in words]
    assert text in refused(capsys, monkeypatch, *compress(nets, "-o", "s.pt", *words))
    assert files(here) == before


def test_a_network_that_torch_cannot_export_says_so_after_its_weights_were_written(nets, here, capsys, monkeypatch):
    class Branching(nets.Net):
        def forward(self, x):
            return super().forward(x) if x.sum() > 0 else super().forward(-x)

    nets.Branching = Branching
    words = compress(nets, "-m", f"{nets.__name__}:Branching", "--ranks", "2", "-o", "s.pt", "--export", "s.pt2")
    code, said = fails(capsys, monkeypatch, *words)
    assert code == 1
    # The last of what is said: torch tells in its own words what it was tracing.
    assert said.err.splitlines()[-1].startswith("svcca: export s.pt2: expected a network that torch.export can trace;")
    assert "Wrote s.pt\n" in said.out
    assert "s.pt2" not in files(here)


def test_weights_that_are_tied_are_written_too(nets):
    class Tied(nets.Net):
        def __init__(self):
            super().__init__()
            self.copy = torch.nn.Linear(4, 6)
            self.copy.weight = self.fc1.weight

    nets.Tied = Tied
    words = ["compress", "-m", f"{nets.__name__}:Tied", "-d", "x.npy", "-l", "fc2", "--ranks", "2"]
    run(*words, "-o", "s.safetensors")
    loaded = svcca.load_compressed(Tied(), "s.safetensors")
    assert loaded.copy.weight is loaded.fc1.weight
    assert loaded.fc2[0].out_features == 2


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
            "one of auto, flatten, pixels, pool, tokens, last_token",
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
        (["demo", "-o", "a.npz"], "expected a folder that can be made; got File exists"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_users_error_is_one_message_and_exit_code_1(here, capsys, monkeypatch, words, text):
    before = files(here)
    assert text in refused(capsys, monkeypatch, *words)
    assert files(here) == before


@pytest.mark.parametrize(
    "words",
    [["compare", "--nonsense"], ["compare", "a", "b", "c"], ["nothing"], ["compare", "--retained-variance", "x"]],
)
def test_wrong_usage_is_exit_code_2(capsys, monkeypatch, words):
    code, said = fails(capsys, monkeypatch, *words)
    assert code == 2
    assert "Usage: " in said.err


def test_activations_of_unequal_length_are_refused(here, capsys, monkeypatch):
    svcca.save_activations("c.npz", {"x": reference.gaussian(0, 399, 3)})
    assert "as many samples on both sides" in refused(capsys, monkeypatch, "compare", "a.npz", "c.npz")


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


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


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("r.htm", "a name that ends in .html, .json, .png, .pdf, .svg; got .htm"),
        ("r", "a name that ends in .html"),
        ("missing/r.html", "expected a folder that exists; got no folder missing"),
        ("a.npz/r.html", "expected a folder that exists; got no folder a.npz"),
        ("folder.html", "folder.html"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_before_any_work(here, capsys, monkeypatch, output, text):
    (here / "folder.html").mkdir()
    before = files(here)

    def work(*args, **options):
        pytest.fail("work was done")

    # By its full name: in the package the function of this name stands before the folder.
    monkeypatch.setattr(sys.modules["svcca.compare.pairs"], "compare", work)
    assert text in refused(capsys, monkeypatch, "compare", "a.npz", "-o", "good.json", "-o", output)
    assert files(here) == before


def test_nothing_is_left_behind_where_the_comparison_fails(here, capsys, monkeypatch):
    svcca.save_activations("c.npz", {"x": np.ones((400, 2))})
    before = files(here)
    refused(capsys, monkeypatch, "compare", "a.npz", "c.npz", "-o", "r.html", "-o", "m.json")
    assert files(here) == before


def test_a_fault_in_the_users_own_code_shows_where_it_is(nets):
    with pytest.raises(RuntimeError, match="a fault in the user's own code"):
        run("compare", "-m", f"{nets.__name__}:failing", "-d", "x.npy")


# The command itself


def test_the_version_is_the_packages(capsys, monkeypatch):
    code, said = fails(capsys, monkeypatch, "--version")
    assert (code, said.out) == (0, f"svcca {metadata.version('svcca')}\n")


@pytest.mark.parametrize("words", [["--help"], ["-h"]])
def test_help_names_the_commands_and_where_to_start(words):
    result = run(*words)
    assert result.exit_code == 0
    assert all(word in result.stdout for word in ("compare", "compress", "demo", "Start with: svcca demo"))


def test_help_on_compare_shows_examples_as_they_are_typed():
    text = run("compare", "--help").stdout
    assert "svcca compare a.npz b.npz -o report.html" in text
    assert all(option in text for option in ("--model", "--checkpoint", "--data", "--layers", "--json"))


def test_help_on_compress_shows_how_the_result_is_loaded():
    text = run("compress", "--help").stdout
    assert "svcca compress -m nets:net -c a.pt -d nets:loader --ratio 0.35 -o smaller.pt" in text
    assert 'smaller = svcca.load_compressed(nets.net(), "smaller.pt")' in text
    assert all(option in text for option in ("--ranks", "--max-loss", "--against-checkpoint", "--evaluate", "--export"))


def test_no_command_at_all_shows_the_help():
    result = CliRunner().invoke(cli.app, [])
    assert "compare" in result.output


def test_the_installed_command_compares_two_files_in_a_process_of_its_own(here):
    script = Path(sys.executable).with_name("svcca")
    command = [str(script)] if script.exists() else [sys.executable, "-c", "from svcca.cli.app import main; main()"]
    done = subprocess.run(
        [*command, "compare", "a.npz", "b.npz", "-o", "r.html", "--json"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["values"] == svcca.compare("a.npz", "b.npz").values.tolist()
    assert (here / "r.html").exists()
    wrong = subprocess.run([*command, "compare", "c.npz"], capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr == "svcca: load c.npz: expected a file; got none there.\n"
