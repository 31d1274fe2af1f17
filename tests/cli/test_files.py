"""A file that a command writes is whole, or is what it was before."""

import errno
import os
import stat
from pathlib import Path

import pytest

from cli import files
from cli.errors import CliError


def test_a_file_is_written_whole_with_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    target = tmp_path / "model.safetensors"
    files.write_whole(target, b"first")
    files.write_whole(target, b"second")
    assert target.read_bytes() == b"second"
    (tmp_path / "plain").write_bytes(b"")
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.safetensors", "plain"]


def test_a_disk_that_fills_up_leaves_the_old_file_and_no_half_of_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "receipt.cose"
    target.write_bytes(b"a good receipt")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        files.write_whole(target, b"another one")
    assert caught.value.filename == str(target)
    assert [path.name for path in tmp_path.iterdir()] == ["receipt.cose"]
    assert target.read_bytes() == b"a good receipt"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        files.write_whole(tmp_path / "none" / "x", b"")
    assert caught.value.filename == str(tmp_path / "none" / "x")


def test_a_file_is_replaced_only_when_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(CliError, match="is there already"):
        files.require_free(tmp_path / "x", force=False)
    files.require_free(tmp_path / "x", force=True)
    files.require_free(tmp_path / "y", force=False)


def test_a_link_leads_to_the_file_that_is_replaced(tmp_path: Path) -> None:
    target, link = tmp_path / "model-v3", tmp_path / "newest"
    target.write_bytes(b"old")
    link.symlink_to(target)
    files.write_whole(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        files.write_whole(pipe, b"a receipt")
        assert os.read(reader, 100) == b"a receipt"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
