import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHORT = (
    "two_models.py",
    "own_measure.py",
    "transformer_with_padding.py",
    "saved_activations.py",
    "fourier_exact.py",
    "learning_dynamics.py",
    "class_sensitivity.py",
    "freeze_training.py",
    "compress.py",
    "projection.py",
)
CIFAR10 = Path(os.environ.get("SVCCA_DATA", ROOT.parent / "shared" / "data")) / "cifar10"


def run(script: str, folder: Path, *arguments: str) -> str:
    """Run an example in a folder of its own; it asserts what it prints."""
    path = os.defpath  # the command `svcca` need not be on it
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / script), *arguments]
    done = subprocess.run(command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("script", SHORT)
def test_an_example_runs_and_its_claim_holds(script: str, tmp_path: Path) -> None:
    assert run(script, tmp_path)


@pytest.mark.data
@pytest.mark.skipif(not CIFAR10.is_dir(), reason="CIFAR-10 is not at SVCCA_DATA or ../shared/data")
def test_two_seeds_on_cifar10_are_compared_and_reported(tmp_path: Path) -> None:
    printed = run("cifar10_two_seeds.py", tmp_path, str(CIFAR10), "1", "2000")
    assert "conv1" in printed
    assert (tmp_path / "cifar10_two_seeds.html").stat().st_size > 10_000


@pytest.mark.data
@pytest.mark.skipif(not CIFAR10.is_dir(), reason="CIFAR-10 is not at SVCCA_DATA or ../shared/data")
@pytest.mark.parametrize("kind", ["residual", "conv"])
def test_learning_dynamics_on_cifar10_are_recorded_and_drawn(kind: str, tmp_path: Path) -> None:
    printed = run("cifar10_learning_dynamics.py", tmp_path, str(CIFAR10), kind, "1", "1000")
    assert "rank correlation of depth" in printed
    assert (tmp_path / f"learning_dynamics_{kind}.png").stat().st_size > 10_000


def test_every_example_is_tested_and_short() -> None:
    scripts = {path.name for path in (ROOT / "examples").glob("*.py")}
    assert scripts == {*SHORT, "cifar10_two_seeds.py", "cifar10_learning_dynamics.py"}
    for script in scripts:
        assert len((ROOT / "examples" / script).read_text().splitlines()) <= 60
