import io
import os
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from reproduce.data.images import CLASSES, cifar10, digits
from reproduce.errors import ReproduceError

DATA = Path(os.environ.get("SVCCA_DATA", Path(__file__).parents[3] / "shared" / "data"))
needs_data = pytest.mark.skipif(not (DATA / "cifar10").is_dir(), reason="CIFAR-10 is not at SVCCA_DATA or shared/data")
N_TRAIN, N_TEST = 50, 20


def made(n, seed):
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8), np.arange(n) % 10


SPLITS = {"train": made(N_TRAIN, 0), "test": made(N_TEST, 1)}


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def as_parquet(folder):
    for split, (pixels, labels) in SPLITS.items():
        images = [{"bytes": png(image), "path": f"{i}.png"} for i, image in enumerate(pixels)]
        pq.write_table(pa.table({"img": images, "label": labels}), folder / f"{split}-00000-of-00001.parquet")


def as_pickles(folder):
    def batch(name, pixels, labels):
        rows = pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)
        content = {b"batch_label": b"a batch", b"labels": labels.tolist(), b"data": rows, b"filenames": [b"x.png"]}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))

    pixels, labels = SPLITS["train"]
    for number in range(5):
        part = slice(10 * number, 10 * number + 10)
        batch(f"data_batch_{number + 1}", pixels[part], labels[part])
    batch("test_batch", *SPLITS["test"])


def as_folders(folder):
    for split, (pixels, labels) in SPLITS.items():
        for i, (image, label) in enumerate(zip(pixels, labels, strict=True)):
            place = folder / split / CLASSES[label]
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{i:04d}.png").write_bytes(png(image))


LAYOUTS = {"parquet": as_parquet, "pickles": as_pickles, "folders": as_folders}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("inside", ["", "cifar10"])
def test_each_layout_gives_the_same_images(tmp_path, layout, inside):
    folder = tmp_path / inside
    folder.mkdir(exist_ok=True)
    LAYOUTS[layout](folder)
    images = cifar10(tmp_path, 35, 1000)
    for split, n in (("train", 35), ("test", N_TEST)):
        pixels, labels = SPLITS[split]
        found = getattr(images, split)
        assert found.shape == (n, 3, 32, 32)
        expected = torch.tensor(pixels[:n].astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2)
        torch.testing.assert_close(found, expected)
        assert getattr(images, f"{split}_labels").tolist() == labels[:n].tolist()
    assert images.classes[9] == "truck"


def test_several_parquet_files_are_read_in_their_order(tmp_path):
    pixels, labels = SPLITS["train"]
    for number in range(2):
        part = slice(25 * number, 25 * number + 25)
        images = [{"bytes": png(image), "path": ""} for image in pixels[part]]
        pq.write_table(
            pa.table({"img": images, "label": labels[part]}), tmp_path / f"train-0000{number}-of-00002.parquet"
        )
    as_test = [{"bytes": png(image), "path": ""} for image in SPLITS["test"][0]]
    pq.write_table(pa.table({"img": as_test, "label": SPLITS["test"][1]}), tmp_path / "test-00000-of-00001.parquet")
    assert cifar10(tmp_path, 40, 5).train_labels.tolist() == labels[:40].tolist()


@pytest.mark.parametrize("data", [None, "missing", "empty", "file"])
def test_data_that_are_not_there_are_an_error_that_says_what_was_looked_for(tmp_path, data):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(ReproduceError, match=r"read CIFAR-10: expected .*--data") as caught:
        cifar10(None if data is None else tmp_path / data, 10, 10)
    if data == "empty":
        assert "train-*.parquet" in str(caught.value)
        assert "data_batch_1" in str(caught.value)
        assert "train/CLASS/*.png" in str(caught.value)


def test_a_damaged_image_is_named_with_its_file_and_row(tmp_path):
    as_parquet(tmp_path)
    path = tmp_path / "train-00000-of-00001.parquet"
    rows = pq.read_table(path).to_pydict()
    rows["img"][7]["bytes"] = rows["img"][7]["bytes"][:60]
    pq.write_table(pa.table(rows), path)
    with pytest.raises(ReproduceError, match=r"read .*train-00000-of-00001\.parquet, row 7: expected an image"):
        cifar10(tmp_path, 20, 5)


@pytest.mark.parametrize("content", [b"no parquet at all", b""])
def test_a_damaged_parquet_file_is_named(tmp_path, content):
    as_parquet(tmp_path)
    (tmp_path / "test-00000-of-00001.parquet").write_bytes(content)
    with pytest.raises(ReproduceError, match=r"read .*test-00000-of-00001\.parquet: expected columns img and label"):
        cifar10(tmp_path, 20, 5)


@pytest.mark.parametrize("damage", ["cut", "keys", "shape"])
def test_a_damaged_pickle_is_named(tmp_path, damage):
    as_pickles(tmp_path)
    path = tmp_path / "data_batch_2"
    content = path.read_bytes()
    other = {"keys": {b"labels": [1]}, "shape": {b"data": np.zeros((2, 7), np.uint8), b"labels": [1, 2]}}
    path.write_bytes(content[: len(content) // 2] if damage == "cut" else pickle.dumps(other[damage]))
    with pytest.raises(ReproduceError, match=r"read .*data_batch_2: expected a batch of cifar-10-batches-py"):
        cifar10(tmp_path, 50, 5)


class Attack:
    def __reduce__(self):
        return os.mkdir, ("taken_over",)


def test_a_pickle_cannot_call_anything(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    as_pickles(tmp_path)
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({b"data": Attack(), b"labels": []}))
    with pytest.raises(ReproduceError, match=r"it asks for posix\.mkdir, which no array needs"):
        cifar10(tmp_path, 50, 5)
    assert not (tmp_path / "taken_over").exists()


@pytest.mark.parametrize("fault", ["text", "size", "class"])
def test_a_faulty_folder_is_named(tmp_path, fault):
    as_folders(tmp_path)
    path = tmp_path / "train" / "bird" / "0002.png"
    if fault == "text":
        path.write_text("no image")
    elif fault == "size":
        path.write_bytes(png(np.zeros((8, 9, 3), np.uint8)))
    else:
        for image in (tmp_path / "train" / "bird").iterdir():
            image.unlink()
    expected = {"text": "expected an image", "size": "32 x 32; got 9 x 8", "class": r"images \.png or \.jpg; got none"}
    with pytest.raises(ReproduceError, match=rf"read .*bird.*{expected[fault]}"):
        cifar10(tmp_path, 50, 5)


def test_digits_are_split_once_for_all():
    images = digits(5000, 5000)
    assert images.train.shape == (1200, 1, 8, 8)
    assert images.test.shape == (597, 1, 8, 8)
    assert float(images.train.min()) == -1
    assert float(images.train.max()) == 1
    few = digits(100, 50)
    assert torch.equal(few.train, images.train[:100])
    assert torch.equal(few.test, images.test[:50])
    together = torch.cat([images.train, images.test]).flatten(1)
    assert len(torch.unique(together, dim=0)) > 1790  # no image in both splits


def test_other_images_have_another_key():
    assert digits(100, 50).config == digits(100, 60).config
    assert digits(100, 50).config != digits(90, 50).config


@pytest.mark.data
@needs_data
def test_the_real_images_are_read():
    images = cifar10(DATA, 600, 300)
    assert (images.shape, len(images.train), len(images.test)) == ((3, 32, 32), 600, 300)
    assert sorted(set(images.train_labels.tolist())) == list(range(10))
    assert -0.3 < float(images.train.mean()) < 0.2
