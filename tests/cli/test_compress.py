import json
from pathlib import Path

import numpy as np
import pytest
import torch

import svcca
from cli.running import fails, files, refused, run
from svcca.compress import CompressionReport


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
    report = CompressionReport.load("report.json")
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


def test_help_on_compress_shows_how_the_result_is_loaded():
    text = run("compress", "--help").stdout
    assert "svcca compress -m nets:net -c a.pt -d nets:loader --ratio 0.35 -o smaller.pt" in text
    assert 'smaller = svcca.load_compressed(nets.net(), "smaller.pt")' in text
    assert all(option in text for option in ("--ranks", "--max-loss", "--against-checkpoint", "--evaluate", "--export"))
    assert "logits, labels, pls" in " ".join(text.replace("│", " ").split())
