import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import typer
from reproduce import __main__ as command
from reproduce import queue as queue_module
from reproduce import shared_nets, study
from reproduce import training as training_module
from reproduce.cache import Cache
from reproduce.data.images import digits
from reproduce.errors import ReproduceError
from reproduce.figures import memorisation, two_seeds, width
from reproduce.nets import Net
from reproduce.queue import entries, listed, locked, train
from reproduce.run import run
from reproduce.shared_nets import SharedNets
from reproduce.training import FAST, Training
from safetensors.torch import load_file
from typer.testing import CliRunner

ROOT = Path(queue_module.__file__).parents[1]


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """Make the shared nets of the quick preset a second's work, and leave the figures' own nets out."""
    training = Training(epochs=3, batch=32, snapshots=2, **FAST)
    residual = Net(kind="residual", width=4, blocks=1)
    nets = SharedNets(
        n_train=96, n_test=50, conv=Net(width=4), conv_training=training, residual=residual, residual_training=training
    )
    monkeypatch.setitem(shared_nets.SHARED, "quick", nets)
    monkeypatch.setattr(queue_module, "FIGURES", ())


@pytest.fixture
def queue(tmp_path):
    return lambda: entries("quick", tmp_path, None, lambda line: None)


@pytest.fixture
def invoke(monkeypatch):
    monkeypatch.delenv("SVCCA_DATA", raising=False)
    app = typer.Typer()
    app.command()(command.main)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_both_kinds_of_net_come_in_turn_so_that_pairs_of_seeds_come_early(queue):
    titles = [entry.title for entry in queue()]
    assert titles == ["conv-4, seed 0", "residual-4, seed 0", "conv-4, seed 1", "residual-4, seed 1"]


def test_nets_of_figures_come_after_the_shared_ones(queue, monkeypatch):
    monkeypatch.setattr(queue_module, "FIGURES", ("memorisation", "width"))
    titles = [entry.title for entry in queue()]
    assert titles[4:6] == ["conv-6, seed 1000 (memorisation, permuted labels)", "conv-6, seed 0 (memorisation)"]
    assert titles[6].startswith("conv-6, seed 1001")
    assert [title.removesuffix(" (width)") for title in titles[10:14]] == [
        "conv-4, seed 0",
        "conv-8, seed 0",
        "conv-16, seed 0",
        "conv-4, seed 1",
    ]


def test_a_figure_that_lacks_the_preset_is_left_out(queue, monkeypatch):
    monkeypatch.setattr(queue_module, "FIGURES", ("width",))
    monkeypatch.delitem(width.SETTINGS, "quick")
    assert len(queue()) == 4


def test_a_line_a_net_says_its_accuracy_and_hours_and_what_is_done_is_skipped(queue, tmp_path, monkeypatch):
    said = []
    queue()[0].train()
    train(queue(), tmp_path, said.append)
    assert len(said) == 4
    assert said[0].startswith("1 of 4: conv-4, seed 0: accuracy 0.")
    assert " on training images), 0.00 hours" in said[1]
    assert [line.endswith("(was there)") for line in said] == [True, False, False, False]
    monkeypatch.setattr(study, "fit", None)
    train(queue(), tmp_path, said.append)
    assert all(line.endswith("(was there)") for line in said[4:])


def test_the_list_tells_what_is_done_partial_and_waiting_and_trains_nothing(queue, tmp_path):
    done, partial, *_ = queue()
    done.train()
    partial.partial.write_bytes(b"")
    before = set(tmp_path.iterdir())
    lines = [listed(entry) for entry in queue()]
    assert [line.split()[0] for line in lines] == ["done", "partial", "waiting", "waiting"]
    assert "accuracy" in lines[0]
    assert lines[1] == "partial  residual-4, seed 0"
    assert set(tmp_path.iterdir()) == before


def test_a_result_of_another_version_is_not_done(queue, monkeypatch):
    queue()[0].train()
    monkeypatch.setattr("reproduce.cache.VERSION", 99)
    assert listed(queue()[0]).startswith("waiting")


def test_the_command_trains_the_queue_and_lists_it(invoke, tmp_path):
    nets = tmp_path / "nets"
    assert invoke("train", "--cache", nets, "--list").output.count("waiting") == 4
    result = invoke("train", "--cache", nets)
    assert result.exit_code == 0, result.output
    assert len(result.output.splitlines()) == 4
    assert invoke("train", "--cache", nets, "--list").output.count("done") == 4
    assert invoke("train", "--out", tmp_path, "--list").output.count("waiting") == 4


def test_figures_take_the_nets_of_the_queue(invoke, tmp_path, monkeypatch):
    nets = tmp_path / "nets"
    train(entries("quick", nets, None, lambda line: None), nets, lambda line: None)
    monkeypatch.setattr(study, "fit", None)
    settings = two_seeds.TwoSeeds(seeds=1, n_compared=50, nets=shared_nets.SHARED["quick"])
    monkeypatch.setitem(two_seeds.SETTINGS, "quick", settings)
    result = invoke("two_seeds", "--out", tmp_path, "--cache", nets)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["nets", "two_seeds.json", "two_seeds.png"]


@pytest.mark.parametrize("module", [memorisation, width])
def test_the_queue_names_what_a_figure_trains(tmp_path, monkeypatch, module):
    wanted, asked = [], []
    monkeypatch.setattr(study.Study, "net_entry", lambda self, *key: wanted.append(study.net_key(*key[:4])))

    def asked_for(self, *key):
        asked.append(study.net_key(*key))
        return study.Trained({}, lambda: None, {})

    monkeypatch.setattr(study.Study, "train_net", asked_for)
    monkeypatch.setattr(study.Study, "analysis", lambda self, *rest: 1 / 0)
    monkeypatch.setattr(study.Trained, "net", lambda self, step=None: None)
    given = study.Study(
        "it", "quick", module.SETTINGS["quick"], None, Cache(tmp_path, lambda line: None), lambda line: None
    )
    list(module.queue(given, given.settings, digits(5000, 5000)))
    with pytest.raises(ZeroDivisionError):
        module.run(given)
    assert asked
    assert [key for key in wanted if key in asked] == sorted(asked, key=wanted.index)


def test_two_queues_of_one_cache_are_an_error_that_names_the_other(tmp_path):
    with (
        locked(tmp_path),
        pytest.raises(ReproduceError, match=rf"no other queue fills; got .* process {os.getpid()} works"),
        locked(tmp_path),
    ):
        pass
    with locked(tmp_path):
        pass


def test_a_queue_trains_nothing_while_another_one_has_the_lock(queue, tmp_path, monkeypatch):
    monkeypatch.setattr(study, "fit", None)
    with locked(tmp_path), pytest.raises(ReproduceError, match="no other queue fills"):
        train(queue(), tmp_path, lambda line: None)


SLOW = """
import sys, time
from pathlib import Path
from reproduce.queue import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_a_process_that_is_killed_leaves_no_lock(tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    arguments = [sys.executable, "-c", SLOW, str(tmp_path)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment) as other:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(ReproduceError, match=rf"process {other.pid} works"), locked(tmp_path):
            pass
        other.send_signal(signal.SIGKILL)
        other.wait()
    with locked(tmp_path):
        pass


def test_a_queue_that_was_killed_goes_on_to_the_same_weights(queue, tmp_path, monkeypatch):
    monkeypatch.setattr(training_module, "SAVE_EVERY", 0.0)
    whole = tmp_path / "whole"
    train(entries("quick", whole, None, lambda line: None), whole, lambda line: None)

    def killed(items, title):
        for epoch in items:
            if (title, epoch) == ("residual-4, seed 0", 2):
                raise KeyboardInterrupt
            yield epoch

    monkeypatch.setattr(study, "track", killed)
    with pytest.raises(KeyboardInterrupt):
        train(queue(), tmp_path, lambda line: None)
    assert [listed(entry).split()[0] for entry in queue()] == ["done", "partial", "waiting", "waiting"]
    epochs = []

    def counted(items, title):
        for epoch in items:
            epochs.append((title, epoch))
            yield epoch

    monkeypatch.setattr(study, "track", counted)
    train(queue(), tmp_path, lambda line: None)
    assert epochs[:2] == [("residual-4, seed 0", 2), ("conv-4, seed 1", 0)]
    for path in whole.glob("*.safetensors"):
        read = [load_file(folder / path.name) for folder in (whole, tmp_path)]
        assert all(torch.equal(read[0][key], read[1][key]) for key in read[0])
    assert not list(tmp_path.glob("*.partial"))


def test_a_figure_without_the_preset_lists_those_it_has(tmp_path, monkeypatch):
    monkeypatch.delitem(two_seeds.SETTINGS, "cpu2", raising=False)
    with pytest.raises(
        ReproduceError, match="two_seeds: expected a preset that this figure has, one of quick, cpu, full"
    ):
        run("two_seeds", "cpu2", tmp_path)


def test_an_unknown_preset_lists_the_known_ones(invoke, tmp_path):
    result = invoke("train", "--preset", "fast", "--out", tmp_path)
    assert "one of quick, cpu, cpu2, full; got 'fast'" in result.output
    assert result.exit_code == 1


def test_listing_the_queue_takes_the_command_train(invoke, tmp_path):
    result = invoke("two_seeds", "--list", "--out", tmp_path)
    assert "--list: expected the command train; got two_seeds" in result.output
    assert result.exit_code == 1
