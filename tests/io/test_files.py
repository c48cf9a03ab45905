import errno
import os
import stat

import pytest

from svcca.errors import FileError
from svcca.io.files import write_atomically, write_text


def test_text_is_written_in_utf_8_and_its_path_returned(tmp_path):
    target = tmp_path / "a.txt"
    assert write_text(str(target), "ρ = 1\n") == target
    assert target.read_bytes() == "ρ = 1\n".encode()


def test_an_existing_file_is_replaced(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old and longer")
    write_text(target, "new")
    assert target.read_text() == "new"


def test_nothing_but_the_file_is_left(tmp_path):
    write_text(tmp_path / "a.txt", "text")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_the_temporary_file_keeps_the_suffix_beside_the_target(tmp_path):
    seen = []
    write_atomically(tmp_path / "a.json", lambda path: (seen.append(path), path.write_text("{}")))
    assert seen[0].suffix == ".json"
    assert seen[0].parent == tmp_path


@pytest.mark.skipif(os.name != "posix", reason="permission bits")
@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_the_file_has_the_permissions_of_any_new_file(tmp_path, mask):
    previous = os.umask(mask)
    try:
        write_text(tmp_path / "a.txt", "text")
        (tmp_path / "b.txt").write_text("text")
        assert os.umask(mask) == mask  # reading the mask has not changed it
    finally:
        os.umask(previous)
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a.txt", "b.txt")}
    assert modes == {0o666 & ~mask}


def test_a_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(FileError, match=r"write .*a\.txt: expected a folder that can be written to; got No such file"):
        write_text(tmp_path / "missing" / "a.txt", "text")


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match=r"a folder that can be written to; got Not a directory. Name another path"):
        write_text(tmp_path / "file" / "a.txt", "text")


def test_a_folder_without_permission_is_refused(tmp_path, monkeypatch):
    # Simulated, since a test that runs as root may write anywhere.
    def deny(**options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("tempfile.mkstemp", deny)
    with pytest.raises(FileError, match="a folder that can be written to; got Permission denied"):
        write_text(tmp_path / "a.txt", "text")


def test_a_folder_in_place_of_the_file_is_refused_and_left(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(FileError, match=r"write .*a\.txt: expected to write the file; got Is a directory"):
        write_text(tmp_path / "a.txt", "text")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def fill(path):
        path.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(FileError, match="expected to write the file; got No space left on device"):
        write_atomically(target, fill)
    assert target.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_an_error_of_another_kind_passes_through_and_leaves_nothing(tmp_path):
    def fail(path):
        raise KeyError("no such layer")

    with pytest.raises(KeyError, match="no such layer"):
        write_atomically(tmp_path / "a.txt", fail)
    assert list(tmp_path.iterdir()) == []


def test_an_os_error_without_a_number_still_says_what_happened(tmp_path):
    def fail(path):
        raise OSError("the serialiser gave up")

    with pytest.raises(FileError, match="expected to write the file; got the serialiser gave up"):
        write_atomically(tmp_path / "a.txt", fail)
