import math

import pytest
import torch
from reproduce.data.text import END, TRAIN_NAMES, UNKNOWN, VALID_NAMES, made_up, wikitext2
from reproduce.errors import ReproduceError
from reproduce.language import unigram_loss

ALL = {"n_words": 100, "n_train": 1000, "n_valid": 1000}


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content, encoding="utf-8")
    return folder


def spelled(text, stream):
    return [text.words[number] for number in stream]


def test_a_text_is_its_words_and_the_ends_of_its_lines_without_empty_ones(tmp_path):
    write(tmp_path, train__txt=" \n = A title = \n \n the cat <unk> the\n", valid__txt="the é cat\n")
    text = wikitext2(tmp_path, **ALL)
    assert spelled(text, text.train) == ["=", "A", "title", "=", END, "the", "cat", UNKNOWN, "the", END]
    assert spelled(text, text.valid) == ["the", UNKNOWN, "cat", END]
    assert text.words[0] == UNKNOWN
    assert len(set(text.words)) == text.n_words
    assert text.train.dtype == torch.int64


def test_only_the_most_frequent_words_are_told_apart(tmp_path):
    write(tmp_path, train__txt="a a a b b c\n", valid__txt="c b a\n")
    text = wikitext2(tmp_path, n_words=3, n_train=1000, n_valid=1000)
    assert text.words == (UNKNOWN, "a", "b")
    assert text.valid.tolist() == [0, 2, 1, 0]  # the end of a line is a word like others, and rare here
    assert text.n_words == 3


def test_the_first_tokens_are_taken(tmp_path):
    write(tmp_path, train__txt="a b c d\n", valid__txt="a b c d\n")
    text = wikitext2(tmp_path, n_words=100, n_train=2, n_valid=3)
    assert spelled(text, text.train) == ["a", "b"]
    assert spelled(text, text.valid) == ["a", "b", UNKNOWN]


@pytest.mark.parametrize(
    "train", ["train.txt", "wiki.train.tokens", "wikitext2-train.txt", "test.txt", "wiki.test.tokens"]
)
@pytest.mark.parametrize("valid", ["valid.txt", "wiki.valid.tokens", "wikitext2-valid.txt"])
def test_every_name_that_is_promised_is_found(tmp_path, train, valid):
    (tmp_path / train).write_text("a b\n")
    (tmp_path / valid).write_text("b\n")
    assert wikitext2(tmp_path, **ALL).words == (UNKNOWN, "a", "b", END)


@pytest.mark.parametrize("folder", ["", "zzz"])
def test_the_official_training_text_is_preferred_to_the_test_text(tmp_path, folder):
    write(tmp_path, test__txt="tested\n", valid__txt="x\n")
    write(tmp_path / folder, train__txt="trained\n", valid__txt="x\n")
    text = wikitext2(tmp_path, **ALL)
    assert spelled(text, text.train) == ["trained", END]
    assert text.name == "wikitext2 train"


def test_a_folder_inside_the_folder_is_looked_into(tmp_path):
    (tmp_path / "another").mkdir()
    write(tmp_path / "wikitext2", test__txt="a\n", valid__txt="b\n")
    assert wikitext2(tmp_path, **ALL).name == "wikitext2 test"


def test_both_files_come_from_one_folder(tmp_path):
    write(tmp_path / "one", train__txt="a\n")
    write(tmp_path / "two", valid__txt="a\n")
    with pytest.raises(ReproduceError, match=r"one of train\.txt.* in the same folder, one of valid\.txt"):
        wikitext2(tmp_path, **ALL)


def test_missing_files_are_named_with_the_place_that_was_looked_at(tmp_path):
    with pytest.raises(ReproduceError) as caught:
        wikitext2(tmp_path, **ALL)
    assert all(name in str(caught.value) for name in (*TRAIN_NAMES, *VALID_NAMES, str(tmp_path), "--data"))


def test_a_folder_that_is_not_there_is_named_as_it_was_given(tmp_path):
    with pytest.raises(ReproduceError, match=r"expected a folder with the data; got .*NotThere, which is not a folder"):
        wikitext2(tmp_path / "NotThere", **ALL)
    with pytest.raises(ReproduceError, match="expected a folder with the data; got none"):
        wikitext2(None, **ALL)


def test_a_file_that_is_no_text_is_named(tmp_path):
    write(tmp_path, train__txt="a\n")
    (tmp_path / "valid.txt").write_bytes(b"caf\xe9 au lait\n")
    with pytest.raises(ReproduceError, match=r"valid\.txt: expected text in UTF-8; got 'utf-8' codec"):
        wikitext2(tmp_path, **ALL)


@pytest.mark.parametrize("content", ["", " \n\n \n"])
def test_an_empty_file_is_named(tmp_path, content):
    write(tmp_path, train__txt=content, valid__txt="a\n")
    with pytest.raises(ReproduceError, match=r"train\.txt: expected words; got an empty file"):
        wikitext2(tmp_path, **ALL)


def test_the_key_of_a_text_changes_with_its_words(tmp_path):
    write(tmp_path / "one", train__txt="a b a\n", valid__txt="a\n")
    write(tmp_path / "two", train__txt="a a b\n", valid__txt="a\n")
    configs = [wikitext2(tmp_path / name, **ALL).config for name in ("one", "two", "one")]
    assert configs[0] == configs[2] != configs[1]


def test_made_up_text_has_an_order_to_learn_and_is_the_same_every_time():
    text = made_up(20, 4000, 2000)
    assert (len(text.train), len(text.valid), text.n_words) == (4000, 2000, 20)
    assert torch.equal(text.train, made_up(20, 4000, 2000).train)
    assert not torch.equal(text.train, made_up(20, 4000, 2000, seed=1).train)
    pairs = torch.zeros(20, 20).index_put((text.train[:-1], text.train[1:]), torch.ones(()), accumulate=True) + 0.1
    chances = (pairs / pairs.sum(dim=1, keepdim=True))[text.valid[:-1], text.valid[1:]]
    assert chances.log().mean().neg() < unigram_loss(text) - math.log(2)
