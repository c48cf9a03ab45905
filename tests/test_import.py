import json
import subprocess
import sys

import pytest

HEAVY = ("matplotlib", "jinja2", "transformers", "pandas", "sklearn", "scipy", "rich", "typer", "safetensors")

CODE = """
import json, random, sys, warnings
import numpy as np
import torch

def settings():
    return {
        "torch random state": torch.get_rng_state().tolist(),
        "numpy random state": str(np.random.get_state()),
        "python random state": str(random.getstate()),
        "threads": torch.get_num_threads(),
        "dtype": str(torch.get_default_dtype()),
        "grad": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "matmul precision": torch.get_float32_matmul_precision(),
        "print options": str(torch._tensor_str.PRINT_OPTS) + str(np.get_printoptions()),
        "numpy errors": np.geterr(),
        "warning filters": str(warnings.filters),
        "excepthook": sys.excepthook is sys.__excepthook__,
        "path": list(sys.path),
    }

before, modules = settings(), set(sys.modules)
import svcca
after = settings()
print("\\nRESULT" + json.dumps({
    "changed": [name for name in before if before[name] != after[name]],
    "new": sorted({name.partition(".")[0] for name in set(sys.modules) - modules}),
}), file=sys.__stdout__)
"""


@pytest.fixture(scope="module")
def process():
    return subprocess.run([sys.executable, "-W", "error", "-c", CODE], capture_output=True, text=True, check=True)


@pytest.fixture(scope="module")
def found(process):
    return json.loads(process.stdout.partition("RESULT")[2])


@pytest.mark.parametrize("name", HEAVY)
def test_importing_svcca_does_not_import(found, name):
    assert name not in found["new"]


def test_importing_svcca_imports_nothing_but_torch_numpy_and_python(found):
    assert set(found["new"]) - sys.stdlib_module_names <= {"svcca", "numpy", "torch"}


def test_importing_svcca_prints_nothing(process):
    assert process.stdout.startswith("\nRESULT")
    assert process.stderr == ""


def test_importing_svcca_changes_no_setting(found):
    assert found["changed"] == []
