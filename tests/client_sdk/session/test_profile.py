"""A member's profile, written and read back."""

from dataclasses import replace
from pathlib import Path

import pytest

from client_sdk.payloads.store import StoreKind
from client_sdk.session.profile import Profile, ProfileInvalid, load_profile, write_profile


def profile(home: Path) -> Profile:
    return Profile(
        organisation="hospital-a",
        chain_id="chain-1",
        genesis=home / "genesis.json",
        genesis_sha256="ab" * 32,
        rpc=("http://127.0.0.1:1", "http://127.0.0.1:2"),
        store=StoreKind.KUBO,
        store_address="http://127.0.0.1:3",
        keyring=home / "members/hospital-a/hospital-a.age",
        passphrase=home / "passphrase",
    )


@pytest.fixture
def path(tmp_path):
    tmp_path.chmod(0o700)
    return tmp_path / "members" / "hospital-a" / "profile.toml"


def test_a_profile_that_was_written_reads_back_the_same(path, tmp_path):
    for stated in (
        profile(tmp_path),
        replace(profile(tmp_path), store=StoreKind.LOCAL, store_address=str(tmp_path / "blocks")),
    ):
        write_profile(path, stated)
        assert load_profile(path) == stated


def test_a_home_can_be_moved(path, tmp_path):
    write_profile(path, profile(tmp_path))
    moved = tmp_path.with_name(f"{tmp_path.name}-moved")
    tmp_path.rename(moved)
    assert load_profile(moved / "members/hospital-a/profile.toml") == profile(moved)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("chain_id = ", "chain = ", "chain_id is missing"),
        ('kind = "kubo"', 'kind = "ftp"', "ftp"),
        ('rpc = [\n    "http://127.0.0.1:1",\n    "http://127.0.0.1:2",\n]', "rpc = []", "list of addresses"),
        ('organisation = "hospital-a"', "organisation = 1", "must be text"),
        ("[keys]", "[key]", "keys is missing"),
        ("[keys]", "[keys", "profile.toml"),
        ("[keys]", "#" * 70_000 + "\n[keys]", "more than"),
    ],
)
def test_a_damaged_profile_is_refused_by_its_path(path, tmp_path, old, new, why):
    write_profile(path, profile(tmp_path))
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ProfileInvalid, match=why) as refusal:
        load_profile(path)
    assert str(path) in str(refusal.value)


def test_a_profile_that_is_not_there_says_what_to_do(path):
    with pytest.raises(ProfileInvalid, match="No such file") as refusal:
        load_profile(path)
    assert "devnet up" in refusal.value.hint
