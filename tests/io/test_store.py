import io
import json
import pickle
import subprocess
import sys
import zipfile
from contextlib import suppress

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import svcca
from svcca.errors import FileError, InputError
from svcca.io.store import load_activations, save_activations

SUFFIXES = pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
LAYERS = {"zeta.1": torch.randn(7, 4), "alpha": torch.randn(7, 2, 3, 3, dtype=torch.float64), "m/n": torch.randn(7)}


@pytest.fixture
def written(tmp_path):
    return {suffix: save_activations(tmp_path / f"a{suffix}", LAYERS) for suffix in (".npz", ".safetensors")}


@SUFFIXES
def test_what_was_saved_is_loaded_to_the_last_bit_and_in_its_order(written, suffix):
    loaded = load_activations(written[suffix])
    assert list(loaded) == list(LAYERS)
    for name, tensor in LAYERS.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)


@SUFFIXES
def test_saving_returns_the_path_and_leaves_nothing_else(tmp_path, suffix):
    target = tmp_path / f"a{suffix}"
    assert save_activations(str(target), LAYERS) == target
    assert list(tmp_path.iterdir()) == [target]


@SUFFIXES
def test_a_path_may_be_text_or_end_in_capitals(tmp_path, suffix):
    target = tmp_path / f"a{suffix}"
    save_activations(target, LAYERS)
    loud = target.rename(tmp_path / f"A{suffix.upper()}")
    assert list(load_activations(str(loud))) == list(LAYERS)


@SUFFIXES
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.complex64, torch.complex128])
def test_every_floating_type_is_kept(tmp_path, suffix, dtype):
    x = torch.randn(5, 2, dtype=torch.float64).to(dtype)
    if suffix == ".safetensors" and dtype == torch.complex128:
        with pytest.raises(InputError, match=r"complex128 in 'x'.* Save as \.npz"):
            save_activations(tmp_path / f"a{suffix}", {"x": x})
        return
    loaded = load_activations(save_activations(tmp_path / f"a{suffix}", {"x": x}))["x"]
    assert loaded.dtype == dtype
    assert torch.equal(loaded, x)


def test_bfloat16_is_kept_in_safetensors_and_widened_in_npz(tmp_path):
    x = torch.randn(5, 2).bfloat16()
    kinds = {}
    for suffix in (".npz", ".safetensors"):
        loaded = load_activations(save_activations(tmp_path / f"a{suffix}", {"x": x}))["x"]
        kinds[suffix] = loaded.dtype
        assert torch.equal(loaded.float(), x.float())
    assert kinds == {".npz": torch.float32, ".safetensors": torch.bfloat16}


@SUFFIXES
def test_views_of_one_memory_are_saved_each_for_itself(tmp_path, suffix):
    x = torch.randn(6, 4)
    views = {"all": x, "half": x[:, :2], "turned": x.T, "one": x[0]}
    loaded = load_activations(save_activations(tmp_path / f"a{suffix}", views))
    assert all(torch.equal(loaded[name], view) for name, view in views.items())


@SUFFIXES
@pytest.mark.parametrize("name", ["file", "allow_pickle", "args", "path", "self", "fc.npy", "(model)", "réseau", "a b"])
def test_a_layer_may_have_any_name(tmp_path, suffix, name):
    layers = {"first": LAYERS["zeta.1"], name: LAYERS["zeta.1"] + 1}
    loaded = load_activations(save_activations(tmp_path / f"a{suffix}", layers))
    assert list(loaded) == list(layers)
    assert torch.equal(loaded[name], layers[name])


@SUFFIXES
def test_numpy_arrays_of_any_layout_are_saved(tmp_path, suffix):
    x = np.arange(24.0).reshape(6, 4)
    layers = {"fortran": np.asfortranarray(x), "stepped": x[::2], "backwards": x[::-1], "big": x.astype(">f8")}
    loaded = load_activations(save_activations(tmp_path / f"a{suffix}", layers))
    assert all(np.array_equal(loaded[name].numpy(), layer) for name, layer in layers.items())


def test_a_safetensors_file_of_another_tool_is_read(tmp_path):
    save_file({"b": torch.ones(3, 2), "a": torch.zeros(3, 1)}, tmp_path / "a.safetensors")
    assert set(load_activations(tmp_path / "a.safetensors")) == {"a", "b"}


def test_a_compressed_npz_of_numpys_own_is_read(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.eye(3))
    assert torch.equal(load_activations(tmp_path / "a.npz")["x"], torch.eye(3, dtype=torch.float64))


# Refusals


@pytest.mark.parametrize("name", ["a.npy", "a.pkl", "a", "a.npz.gz", "a.csv"])
def test_another_suffix_is_refused(tmp_path, name):
    for act in (load_activations, lambda path: save_activations(path, LAYERS)):
        with pytest.raises(FileError, match=r"a name that ends in|activations in \.npz or \.safetensors"):
            act(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt"])
def test_a_checkpoint_in_place_of_activations_says_where_it_goes(tmp_path, suffix):
    with pytest.raises(FileError, match="A checkpoint of weights goes with --model and --checkpoint"):
        load_activations(tmp_path / f"a{suffix}")


@SUFFIXES
def test_a_missing_file_and_a_folder_are_refused(tmp_path, suffix):
    (tmp_path / f"folder{suffix}").mkdir()
    for name in ("missing", "folder"):
        with pytest.raises(FileError, match=f"load .*{name}{suffix}: expected a file; got none there"):
            load_activations(tmp_path / f"{name}{suffix}")


@SUFFIXES
def test_a_file_of_no_layers_is_refused(tmp_path, suffix):
    path = save_activations(tmp_path / f"a{suffix}", {})
    with pytest.raises(FileError, match="expected at least one array; got an empty file"):
        load_activations(path)


@SUFFIXES
@pytest.mark.parametrize("content", [b"", b"PK", b"text\n" * 40, bytes(64), pickle.dumps({"a": 1})], ids=len)
def test_a_file_that_is_something_else_is_refused(tmp_path, suffix, content):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"load .*a\.\w+: expected"):
        load_activations(path)


@SUFFIXES
def test_a_file_cut_short_anywhere_is_refused(tmp_path, written, suffix):
    content = written[suffix].read_bytes()
    path = tmp_path / f"cut{suffix}"
    for length in {*range(0, len(content), 7), *range(len(content) - 60, len(content))}:
        path.write_bytes(content[:length])
        with pytest.raises(FileError, match=r"load .*cut\.\w+: expected"):
            load_activations(path)


@pytest.mark.parametrize("kind", ["npz", "compressed", "safetensors"])
def test_a_file_with_a_flipped_bit_is_refused_or_read(tmp_path, kind):
    layers = {"one": np.arange(20.0).reshape(5, 4), "two": np.ones((5, 2), np.float32)}
    path = tmp_path / ("a.safetensors" if kind == "safetensors" else "a.npz")
    if kind == "compressed":
        np.savez_compressed(path, **layers)
    else:
        save_activations(path, layers)
    content = path.read_bytes()
    outcomes = {"read": 0, "refused": 0}
    for place in range(0, len(content), 3):
        damaged = bytearray(content)
        damaged[place] ^= 1 << (place // 3) % 8
        path.write_bytes(damaged)
        try:
            loaded = load_activations(path)
        except (FileError, InputError):  # a flipped dtype can turn floats into integers
            outcomes["refused"] += 1
        else:
            assert all(isinstance(tensor, torch.Tensor) for tensor in loaded.values())
            outcomes["read"] += 1
    assert all(outcomes.values())


def test_an_encrypted_archive_is_refused(tmp_path):
    path = save_activations(tmp_path / "a.npz", {"x": torch.ones(3, 2)})
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1  # the flag that says so
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"load .*a\.npz: expected an \.npz archive; got .*encrypted"):
        load_activations(path)


def test_one_array_under_the_name_of_an_archive_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.eye(3))
    path = (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    with pytest.raises(FileError, match=r"got ValueError: a single \.npy array under the name of an archive"):
        load_activations(path)


def test_an_archive_that_holds_no_arrays_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("readme.txt", "text")
    with pytest.raises((FileError, InputError), match=r"readme\.txt"):
        load_activations(tmp_path / "a.npz")


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def planted(tmp_path, form):
    """A file whose reading as a pickle would make the file `mark`."""
    mark, path = tmp_path / "mark", tmp_path / "a.npz"
    if form == "object array in an archive":
        array = np.empty(1, dtype=object)
        array[0] = Bomb(mark)
        np.savez(path, good=np.eye(2), bad=array)
    elif form == "object array alone":
        array = np.empty(1, dtype=object)
        array[0] = Bomb(mark)
        with path.open("wb") as file:
            np.save(file, array)
    elif form == "bare pickle":
        path.write_bytes(pickle.dumps(Bomb(mark)))
    else:
        buffer = io.BytesIO()
        buffer.write(pickle.dumps(Bomb(mark)))
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("bad.npy", buffer.getvalue())
    return path, mark


FORMS = ["object array in an archive", "object array alone", "bare pickle", "pickle named .npy in an archive"]


@pytest.mark.parametrize("form", FORMS)
def test_a_pickle_is_refused_and_never_run(tmp_path, form):
    path, mark = planted(tmp_path, form)
    with pytest.raises((FileError, InputError), match=r"pickle|expected an array"):
        load_activations(path)
    with pytest.raises((FileError, InputError)):
        svcca.compare(path)
    assert not mark.exists()


def test_the_planted_pickle_would_run(tmp_path):
    path, mark = planted(tmp_path, FORMS[0])
    with np.load(path, allow_pickle=True) as archive:
        archive["bad"][0].close()
    assert mark.exists()


def test_an_object_array_is_refused_as_a_pickle(tmp_path):
    path, _ = planted(tmp_path, FORMS[0])
    text = r"expected plain arrays; got pickled objects\. Reading a pickle can run code, so it is refused\. Save plain"
    with pytest.raises(FileError, match=text):
        load_activations(path)


@SUFFIXES
def test_integers_in_a_good_file_are_called_integers_not_damage(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    if suffix == ".npz":
        np.savez(path, ids=np.arange(6).reshape(3, 2))
    else:
        save_file({"ids": torch.arange(6).reshape(3, 2)}, path)
    with pytest.raises(InputError, match=r"'ids': expected floating-point activations; got dtype int64") as caught:
        load_activations(path)
    assert "truncated" not in str(caught.value)


@pytest.mark.parametrize("order", ["5", "[1]", '[["a"]]', "[", '["zz"]', '"ab"', '{"a": 1}', "true"])
def test_a_damaged_order_of_layers_is_refused_or_ignored(tmp_path, order):
    save_file({"a": torch.ones(3, 2), "b": torch.ones(3, 1)}, tmp_path / "a.safetensors", {"svcca.order": order})
    with suppress(FileError):
        assert set(load_activations(tmp_path / "a.safetensors")) == {"a", "b"}


def test_no_layer_is_lost_where_the_order_does_not_name_it(tmp_path):
    order = {"svcca.order": json.dumps(["b"])}
    save_file({"a": torch.ones(3, 2), "b": torch.ones(3, 1)}, tmp_path / "a.safetensors", order)
    with suppress(FileError):
        assert set(load_activations(tmp_path / "a.safetensors")) == {"a", "b"}


@SUFFIXES
@pytest.mark.parametrize(
    "array", [np.arange(3), np.array([[1], [1, 2]], dtype=object), "text", None], ids=["int", "object", "text", "none"]
)
def test_what_is_no_activation_is_not_saved_and_named(tmp_path, suffix, array):
    with pytest.raises(InputError, match="layer 'bad': expected"):
        save_activations(tmp_path / f"a{suffix}", {"good": np.ones((3, 1)), "bad": array})
    assert list(tmp_path.iterdir()) == []


@SUFFIXES
def test_a_folder_that_does_not_exist_is_a_file_error(tmp_path, suffix):
    with pytest.raises(FileError, match="expected a folder that can be written to"):
        save_activations(tmp_path / "missing" / f"a{suffix}", LAYERS)


@SUFFIXES
@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_a_disk_that_fills_up_leaves_the_old_file_and_nothing_else(tmp_path, suffix):
    (tmp_path / f"a{suffix}").write_text("old")
    # A limit on the size of any file stands for the full disk; past it a write fails, as on one.
    code = """
import resource, signal, sys, torch, svcca
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    svcca.save_activations(sys.argv[1], {"x": torch.zeros(100, 1000)})
except svcca.errors.FileError as error:
    sys.exit(f"FileError {error}")
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / f"a{suffix}")], capture_output=True, text=True, check=False
    )
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [(f"a{suffix}", "old")]
    assert done.stderr.startswith("FileError write "), done.stderr
