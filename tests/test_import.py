import importlib
import json
import subprocess
import sys

import pytest

import svcca

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


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("pwcca", "it is svcca.measures.pwcca"),
        ("pls", "it is svcca.measures.pls"),
        ("Moments", "it is svcca.core.Moments"),
        ("fourier_cca", "it is svcca.fourier.fourier_cca"),
        ("AdaptiveFreezing", "it is svcca.freeze.AdaptiveFreezing"),
        ("Doubt", "it is svcca.errors.Doubt"),
        ("compression_curve", "from svcca.compress import compression_curve"),
        ("distributedness", "from svcca.project import distributedness"),
        ("ClassDynamics", "from svcca.compare import ClassDynamics"),
    ],
)
def test_a_name_that_is_not_at_the_root_says_where_it_is(name, where):
    assert not hasattr(svcca, name)
    with pytest.raises(AttributeError) as caught:
        getattr(svcca, name)
    assert str(caught.value) == f"module 'svcca' has no attribute '{name}': {where}"
    path = where.split()[1] if where.startswith("from") else where.split()[2].rpartition(".")[0]
    assert hasattr(importlib.import_module(path), name)


def test_a_name_that_does_not_exist_is_an_ordinary_attribute_error():
    with pytest.raises(AttributeError, match=r"^module 'svcca' has no attribute 'svca'$"):
        _ = svcca.svca
