"""Secrets on disk: whole or not there, never overwritten, never read when others could."""

import os

import pytest

from client_sdk.secrets.private_files import (
    ExposedFile,
    FileTooLarge,
    create_private,
    make_private_directory,
    read_private,
    replace_private,
)


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "keys" / "secret"
    create_private(path, b"content")
    return path


def test_a_private_file_is_for_its_owner_only_whatever_the_umask(tmp_path):
    old = os.umask(0)
    try:
        create_private(tmp_path / "keys" / "secret", b"content")
    finally:
        os.umask(old)
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "keys" / "secret").stat().st_mode & 0o777 == 0o600
    assert read_private(tmp_path / "keys" / "secret", bytes_max=7) == b"content"


def test_an_existing_file_is_not_overwritten(secret):
    with pytest.raises(FileExistsError):
        create_private(secret, b"other")
    assert read_private(secret, bytes_max=7) == b"content"
    assert [entry.name for entry in secret.parent.iterdir()] == ["secret"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_a_file_that_others_may_use_is_refused_with_the_command_that_helps(secret, mode):
    secret.chmod(mode)
    with pytest.raises(ExposedFile) as refused:
        read_private(secret, bytes_max=7)
    assert refused.value.hint == f"Run: chmod 600 {secret}"


def test_a_directory_that_others_may_use_is_refused_with_the_command_that_helps(secret):
    secret.parent.chmod(0o750)
    for use in (lambda: read_private(secret, bytes_max=7), lambda: replace_private(secret, b"new")):
        with pytest.raises(ExposedFile) as refused:
            use()
        assert refused.value.hint == f"Run: chmod 700 {secret.parent}"


def test_a_stricter_mode_is_fine(secret):
    secret.chmod(0o400)
    assert read_private(secret, bytes_max=7) == b"content"


def test_a_file_of_somebody_else_is_refused(secret, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(ExposedFile, match="belongs to user"):
        read_private(secret, bytes_max=7)


def test_a_symbolic_link_is_not_followed(secret):
    link = secret.with_name("link")
    link.symlink_to(secret)
    with pytest.raises(ExposedFile, match="symbolic link"):
        read_private(link, bytes_max=7)


def test_a_pipe_is_not_waited_for(secret):
    os.mkfifo(secret.with_name("pipe"), 0o600)
    with pytest.raises(ExposedFile, match="regular file"):
        read_private(secret.with_name("pipe"), bytes_max=7)


def test_a_file_over_its_bound_is_refused(secret):
    with pytest.raises(FileTooLarge):
        read_private(secret, bytes_max=6)


def test_a_replacement_that_fails_leaves_the_old_file(secret, monkeypatch):
    def full(_descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            replace_private(secret, b"new")
    assert read_private(secret, bytes_max=7) == b"content"
    assert [entry.name for entry in secret.parent.iterdir()] == ["secret"]


def test_a_directory_that_is_already_private_is_kept(secret):
    make_private_directory(secret.parent)
    assert secret.exists()
