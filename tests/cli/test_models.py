import pickle
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from cli.running import Bomb
from svcca.cli.models import build_model, import_object, load_checkpoint, load_inputs
from svcca.errors import FileError, InputError

NETS = """
import functools
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 3), nn.Linear(3, 2)

    def forward(self, x):
        return self.fc2(self.fc1(x))

class Namespace:
    net = Net

ready = Net()
number = 3
make = functools.partial(Net)
batches = [torch.ones(5, 4)]

def loader():
    return batches

def broken():
    return "text"
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a module in it, as the working directory; its name is its own, for Python keeps modules."""
    name = f"nets_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    yield name
    sys.modules.pop(name, None)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 3), nn.Linear(3, 2)


def weights(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(value.shape, generator=generator) for name, value in Net().state_dict().items()}


def loaded(path):
    model = Net()
    load_checkpoint(model, path)
    return model.state_dict()


def same(a, b):
    assert set(a) == set(b)
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_name_in_a_module_of_the_working_directory_is_found(here):
    assert import_object(f"{here}:number") == 3
    assert import_object(f"{here}:Namespace.net").__name__ == "Net"


def test_a_name_in_an_installed_module_is_found():
    assert import_object("torch.nn:Linear") is nn.Linear


def test_the_search_path_is_left_as_it_was(here):
    before = list(sys.path)
    import_object(f"{here}:number")
    with pytest.raises(InputError):
        import_object("no_such_module_anywhere:x")
    assert sys.path == before


@pytest.mark.parametrize("spec", ["", "torch", ":name", "torch:", "data.csv"])
def test_another_form_is_refused_with_an_example(spec):
    with pytest.raises(InputError, match=r"expected package\.module:name; got .*For instance mypackage"):
        import_object(spec)


def test_a_module_that_does_not_exist_is_refused():
    with pytest.raises(InputError, match=r"a module that can be imported; got No module named 'no_such_module"):
        import_object("no_such_module_anywhere:x")


def test_a_name_that_the_module_does_not_have_is_refused(here):
    with pytest.raises(InputError, match=f"expected a name in {here}; got .* has no attribute 'nothing'"):
        import_object(f"{here}:nothing")


@pytest.mark.parametrize("name", ["Net", "make", "ready", "Namespace.net"])
def test_a_class_a_function_and_a_module_give_a_model(here, name):
    assert type(build_model(f"{here}:{name}", None)).__name__ == "Net"


@pytest.mark.parametrize("name", ["number", "broken"])
def test_what_gives_no_module_is_refused(here, name):
    with pytest.raises(InputError, match=r"a torch\.nn\.Module or a function that returns one; got (int|str)"):
        build_model(f"{here}:{name}", None)


def test_two_checkpoints_of_a_module_object_are_two_models(here, tmp_path):
    for seed in (0, 1):
        torch.save(weights(seed), tmp_path / f"{seed}.pt")
    first, second = (build_model(f"{here}:ready", tmp_path / f"{seed}.pt") for seed in (0, 1))
    same(first.state_dict(), weights(0))
    same(second.state_dict(), weights(1))


@pytest.mark.parametrize("nest", [None, "state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_a_state_dict_is_found_inside_and_under_wrappers(tmp_path, nest, prefix):
    state = {prefix + name: tensor for name, tensor in weights().items()}
    torch.save({nest: state, "epoch": 3} if nest else state, tmp_path / "a.pt")
    same(loaded(tmp_path / "a.pt"), weights())


def test_a_model_with_a_child_named_like_a_wrapper_takes_its_own_weights(tmp_path):
    class Holder(nn.Module):
        def __init__(self):
            super().__init__()
            self.module = nn.Linear(2, 2)

    saved = Holder()
    torch.save(saved.state_dict(), tmp_path / "a.pt")
    model = Holder()
    load_checkpoint(model, tmp_path / "a.pt")
    same(model.state_dict(), saved.state_dict())


def test_safetensors_weights_are_loaded(tmp_path):
    save_file(weights(), tmp_path / "a.safetensors")
    same(loaded(tmp_path / "a.safetensors"), weights())


def test_missing_and_unexpected_names_are_listed(tmp_path):
    state = weights()
    state["fc3.weight"] = state.pop("fc2.weight")
    torch.save(state, tmp_path / "a.pt")
    text = r"expected the model's own weights; got missing fc2\.weight; unexpected fc3\.weight\. It comes"
    with pytest.raises(FileError, match=rf"checkpoint .*a\.pt: {text}"):
        loaded(tmp_path / "a.pt")


def test_many_missing_names_are_cut_with_their_number(tmp_path):
    torch.save({f"other{i}": torch.ones(1) for i in range(9)}, tmp_path / "a.pt")
    with pytest.raises(FileError, match="unexpected other0, other1, other2, other3, other4 and 4 more"):
        loaded(tmp_path / "a.pt")


def test_weights_of_other_shapes_are_refused(tmp_path):
    torch.save(weights() | {"fc1.weight": torch.ones(2, 2)}, tmp_path / "a.pt")
    with pytest.raises(FileError, match=r"expected weights of the model's shapes; got (?s:.)*fc1\.weight"):
        loaded(tmp_path / "a.pt")


@pytest.mark.parametrize("form", ["torch", "pickle", "beside weights"])
def test_code_in_a_checkpoint_is_refused_and_never_run(tmp_path, form):
    path, mark = tmp_path / "a.pt", tmp_path / "mark"
    if form == "pickle":
        path.write_bytes(pickle.dumps(Bomb(mark), protocol=2))
    else:
        torch.save(Bomb(mark) if form == "torch" else weights() | {"extra": Bomb(mark)}, path)
    with pytest.raises(FileError, match=r"checkpoint .*a\.pt: expected .*running code from a file is refused"):
        loaded(path)
    assert not mark.exists()


def test_a_whole_pickled_model_is_refused_with_what_to_save(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "a.pt")
    with pytest.raises(FileError, match=r"Save model\.state_dict\(\) instead"):
        loaded(tmp_path / "a.pt")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_checkpoint_cut_short_is_refused(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    (torch.save if suffix == ".pt" else save_file)(weights(), path)
    content = path.read_bytes()
    for length in (0, 1, 8, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(FileError, match=r"checkpoint .*a\.\w+: expected"):
            loaded(path)


@pytest.mark.parametrize("content", [[1], {"a": 1}, 3.0, {0: torch.ones(2)}, {"model": {1: torch.ones(2)}}], ids=str)
def test_a_checkpoint_that_is_no_state_dict_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(FileError, match=r"checkpoint .*a\.pt: expected"):
        loaded(tmp_path / "a.pt")


def test_a_missing_checkpoint_is_refused(tmp_path):
    with pytest.raises(FileError, match=r"checkpoint .*a\.pt: expected a file; got none there"):
        loaded(tmp_path / "a.pt")


# Inputs


def test_one_array_is_the_inputs_and_several_are_keywords(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x, mask = np.ones((3, 2), np.float32), np.arange(3)
    np.save("x.npy", x)
    np.savez("one.npz", anything=x)
    np.savez("two.npz", x=x, mask=mask)
    save_file({"x": torch.from_numpy(x), "mask": torch.from_numpy(mask)}, "two.safetensors")
    assert torch.equal(load_inputs("x.npy"), torch.from_numpy(x))
    assert torch.equal(load_inputs("one.npz"), torch.from_numpy(x))
    for name in ("two.npz", "two.safetensors"):
        inputs = load_inputs(name)
        assert set(inputs) == {"x", "mask"}
        assert inputs["mask"].dtype == torch.int64


def test_a_function_that_gives_a_loader_is_called_and_a_loader_is_taken(here):
    assert load_inputs(f"{here}:loader") is load_inputs(f"{here}:batches")


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.safetensors"])
@pytest.mark.parametrize("content", [None, b"", b"text"], ids=["missing", "empty", "text"])
def test_inputs_that_cannot_be_read_are_refused(tmp_path, monkeypatch, name, content):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError, match=f"data {name}: expected a file of plain arrays; got"):
        load_inputs(name)


def test_a_pickle_in_the_inputs_is_refused_and_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    array = np.empty(1, dtype=object)
    array[0] = Bomb(tmp_path / "mark")
    np.save("x.npy", array)
    with pytest.raises(FileError, match=r"Object arrays cannot be loaded"):
        load_inputs("x.npy")
    assert not (tmp_path / "mark").exists()


def test_an_archive_without_arrays_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("x.npz")
    with pytest.raises(FileError, match=r"data x\.npz: expected at least one array; got none"):
        load_inputs("x.npz")
