import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from reproduce import compression, freeze_training
from reproduce.nets import conv_net
from scipy import stats

CIFAR10 = Path(os.environ.get("SVCCA_DATA", Path(__file__).parents[2] / "shared" / "data")) / "cifar10"
needs_data = pytest.mark.skipif(not CIFAR10.is_dir(), reason="CIFAR-10 is not at SVCCA_DATA or ../shared/data")


def record(arm, seed, seconds, final, saved=0.25):
    return {"arm": arm, "seed": seed, "seconds": seconds, "accuracies": [0.1, final], "flops_saved": saved}


RECORDS = [
    record("baseline", 0, 10.0, 0.6),
    record("linear", 0, 8.0, 0.58),
    record("baseline", 1, 20.0, 0.7),
    record("linear", 1, 12.0, 0.7),
]


def test_the_papers_net_has_its_sizes():
    net = conv_net(64)
    assert net.fc1.in_features == 4096
    assert (net.fc1.out_features, net.fc2.out_features) == (512, 256)
    assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_an_interval_is_students():
    values = np.array([0.6, 0.62, 0.67])
    low, high = stats.t.interval(0.95, 2, values.mean(), stats.sem(values))
    assert freeze_training.interval(values) == f"{100 * values.mean():.1f} ± {50 * (high - low):.1f}"


def test_arms_are_compared_with_the_baseline_of_their_own_seed():
    row = freeze_training.table(RECORDS).loc["linear"]
    assert row["time saved %"].startswith("30.0 ±")
    assert row["against baseline, points"].startswith("-1.0 ±")
    assert row["accuracy %"].startswith("64.0 ±")


def test_the_figure_has_a_line_an_arm():
    figure = freeze_training.draw(RECORDS)
    assert [line.get_label() for line in figure.axes[0].lines] == ["baseline", "linear"]


def test_the_compression_figure_has_a_line_a_way():
    rows = [
        {"way": way, "size": f"ratio {ratio}", "seed": seed, "lost": 5 * (1 - ratio), "parameters": int(1000 * ratio)}
        for way in ("logits", "PCA")
        for ratio in (0.2, 0.6)
        for seed in (0, 1)
    ]
    ax = compression.draw(pd.DataFrame(rows), 1000).axes[0]
    assert [line.get_label() for line in ax.lines[:2]] == ["logits", "PCA"]
    assert ax.lines[0].get_xdata().tolist() == [0.2, 0.6]


@pytest.mark.data
@needs_data
def test_figure_5_runs_and_goes_on_from_what_is_there(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(freeze_training, "TEST", 500)
    options = {"data": CIFAR10, "out": tmp_path, "seeds": 1, "epochs": 2, "n_train": 512, "width": 6}
    freeze_training.main(**options)
    assert (tmp_path / "freeze_training.png").stat().st_size > 5000
    records = sorted(tmp_path.glob("*.json"))
    assert len(records) == len(freeze_training.ARMS)
    first = [path.stat().st_mtime_ns for path in records]
    table = capsys.readouterr().out.splitlines()[-len(records) :]
    freeze_training.main(**options)
    assert [path.stat().st_mtime_ns for path in records] == first
    assert capsys.readouterr().out.splitlines()[-len(records) :] == table


@pytest.mark.data
@needs_data
def test_compression_runs_and_draws(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(compression, "TEST", 500)
    monkeypatch.setattr(compression, "RATIOS", (0.5,))
    compression.main(data=CIFAR10, out=tmp_path, seeds=2, epochs=1, n_train=1024, width=6)
    assert (tmp_path / "compression.png").stat().st_size > 5000
    assert len(list(tmp_path.glob("*.pt"))) == 3
    found = pd.read_csv(tmp_path / "compression.csv")
    assert len(found) == 2 * 6 * 2
    assert "logits" in capsys.readouterr().out
