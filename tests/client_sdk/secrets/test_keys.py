"""Keyrings: opened by their passphrase only, strict inside, never overwritten, silent about what they hold.

Every opening and every writing costs one scrypt (about 0.3 s): the tests share one keyring where they can.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from client_sdk.payloads.confidential import decrypt, encrypt
from client_sdk.secrets import keys
from client_sdk.secrets.keys import (
    Contents,
    EncryptionKey,
    InvalidKeyName,
    KeyFileCorrupt,
    KeyFileExists,
    KeyFilePermissions,
    KeyNotFound,
    SigningKey,
    WrongPassphrase,
    add_keys,
    create_keyring,
    keyring_path,
    new_encryption_key,
    new_signing_key,
    open_keyring,
    split_reference,
)
from client_sdk.secrets.passphrase import InvalidPassphrase
from contracts.kernel import codec, crypto
from contracts.kernel.types import Purpose

PASSPHRASE = "correct horse battery"
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    path = keyring_path(tmp_path_factory.mktemp("original") / "keys", "hospital-a")
    made = [
        new_signing_key("human", Purpose.HUMAN),
        new_signing_key("worker", Purpose.WORKLOAD),
        new_encryption_key("encryption"),
    ]
    return create_keyring(path, made, PASSPHRASE)


@pytest.fixture
def path(original, tmp_path):
    """A fresh copy that a test may damage."""
    copy = tmp_path / "keys" / original.path.name
    copy.parent.mkdir(mode=0o700)
    shutil.copy(original.path, copy)
    copy.chmod(0o600)
    return copy


def test_a_keyring_gives_back_the_keys_it_was_made_with(original, path):
    opened = open_keyring(path, PASSPHRASE)
    assert opened.keys == original.keys
    assert opened.signing("human").purpose is Purpose.HUMAN
    assert opened.signing("worker").purpose is Purpose.WORKLOAD
    sealed = encrypt(b"update", [opened.encryption("encryption").recipient])
    assert decrypt(sealed, opened.encryption("encryption").identity, max_bytes=6) == b"update"


def test_a_signing_key_signs_under_the_did_that_the_ledger_derives(original):
    key = original.signing("worker")
    assert crypto.verify(key.public, b"message", key.sign(b"message"))
    assert key.did.startswith("did:key:z6Mk")
    assert crypto.public_key_of(key.did) == key.public


def test_rfc_8032_gives_the_same_public_key_for_its_first_vector():
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert SigningKey("k", Purpose.HUMAN, seed).public.hex() == public


def test_secrets_do_not_appear_in_what_is_printed(original):
    printed = repr(original) + str(original.keys)
    for key in original.keys:
        secret = key.seed if isinstance(key, SigningKey) else key.identity
        assert repr(secret) not in printed
    assert "AGE-SECRET-KEY" not in printed


def test_nothing_inside_can_be_read_without_the_passphrase(original):
    raw = original.path.read_bytes()
    assert raw.startswith(b"age-encryption.org/v1\n-> scrypt ")
    for fragment in (b"human", b"worker", b"AGE-SECRET", original.signing("human").seed[:8]):
        assert fragment not in raw


def test_a_wrong_passphrase_is_refused_with_what_to_do(path):
    with pytest.raises(WrongPassphrase) as refused:
        open_keyring(path, PASSPHRASE + "!")
    assert "Check the passphrase" in refused.value.hint


def test_a_keyring_that_others_may_read_is_refused_with_the_command_that_helps(path):
    path.chmod(0o644)
    with pytest.raises(KeyFilePermissions) as refused:
        open_keyring(path, PASSPHRASE)
    assert refused.value.hint == f"Run: chmod 600 {path}"


def test_a_folder_that_others_may_write_is_refused_with_the_command_that_helps(path):
    path.parent.chmod(0o777)
    for use in (
        lambda: open_keyring(path, PASSPHRASE),
        lambda: add_keys(path, [new_encryption_key("x")], PASSPHRASE),
        lambda: create_keyring(path.with_name("new.age"), [new_encryption_key("x")], PASSPHRASE),
    ):
        with pytest.raises(KeyFilePermissions) as refused:
            use()
        assert refused.value.hint == f"Run: chmod 700 {path.parent}"


def test_an_existing_keyring_is_never_overwritten(path, monkeypatch):
    before = path.read_bytes()
    with pytest.raises(KeyFileExists):
        create_keyring(path, [new_signing_key("human", Purpose.HUMAN)], PASSPHRASE)
    monkeypatch.setattr(Path, "exists", lambda _self: False)  # Somebody made it after we looked.
    with pytest.raises(KeyFileExists):
        create_keyring(path, [new_signing_key("human", Purpose.HUMAN)], PASSPHRASE)
    assert path.read_bytes() == before


def test_keys_are_added_but_never_replaced(original, path):
    more = new_signing_key("worker-2", Purpose.WORKLOAD)
    assert add_keys(path, [more], PASSPHRASE).keys == (*original.keys, more)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(KeyFileExists, match="worker"):
        add_keys(path, [new_signing_key("worker", Purpose.WORKLOAD)], PASSPHRASE)
    assert open_keyring(path, PASSPHRASE).keys == (*original.keys, more)


@pytest.mark.parametrize(
    ("sin", "damage"),
    [
        ("damaged", lambda raw: raw[:-1]),
        ("damaged", lambda raw: raw[:-1] + bytes([raw[-1] ^ 1])),
        ("not an age file under a passphrase", lambda raw: b"\0" + raw),
        ("not an age file under a passphrase", lambda raw: b""),
        ("no keyring", lambda raw: raw * 100),
    ],
)
def test_a_damaged_file_is_told_from_a_wrong_passphrase(path, sin, damage):
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(KeyFileCorrupt, match=sin):
        open_keyring(path, PASSPHRASE)


HUMAN = SigningKey("human", Purpose.HUMAN, bytes(32))


@pytest.mark.parametrize(
    ("sin", "inside"),
    [
        ("not canonical", b"\x00\x00"),
        ("version", codec.encode_plain({"version": 2, "keys": []})),
        ("two keys of one name", codec.encode(Contents(1, (HUMAN, HUMAN)))),
        ("seed", codec.encode(Contents(1, (HUMAN,))).replace(b"\x58\x20" + bytes(32), b"\x58\x1f" + bytes(31))),
    ],
)
def test_the_inside_is_read_strictly(sin, inside):
    with pytest.raises(KeyFileCorrupt, match=sin):
        keys._read_contents(Path("k.age"), inside)


def test_a_missing_keyring_and_a_missing_key_are_not_found_with_what_there_is(original, tmp_path):
    with pytest.raises(KeyNotFound, match="no keyring"):
        open_keyring(tmp_path / "keys" / "nobody.age", PASSPHRASE)
    with pytest.raises(KeyNotFound) as refused:
        original.signing("wroker")
    assert refused.value.hint == "It holds: human, worker, encryption."
    with pytest.raises(KeyNotFound, match="does not sign"):
        original.signing("encryption")
    with pytest.raises(KeyNotFound, match="does not decrypt"):
        original.encryption("human")


def test_a_reference_names_an_organisation_and_a_key():
    assert split_reference("hospital-a/worker") == ("hospital-a", "worker")


@pytest.mark.parametrize(
    "reference", ["worker", "/worker", "a/", "../a/b", "a/../b", "A/b", "a/b/c", "a b/c", "a/" + "b" * 41]
)
def test_a_reference_that_could_lead_elsewhere_is_refused(reference, tmp_path):
    with pytest.raises(InvalidKeyName):
        split_reference(reference)


@pytest.mark.parametrize("organisation", ["..", "a/b", "", ".hidden", "a.b"])
def test_no_name_leads_out_of_the_folder(organisation, tmp_path):
    with pytest.raises(InvalidKeyName):
        keyring_path(tmp_path, organisation)


@pytest.mark.parametrize(
    ("sin", "made"),
    [
        ("0 keys", []),
        ("17 keys", [SigningKey(f"k{i}", Purpose.HUMAN, bytes(32)) for i in range(17)]),
        ("one name", [HUMAN, EncryptionKey("human", "AGE-SECRET-KEY-1" + "Q" * 58)]),
    ],
)
def test_a_keyring_of_nothing_too_much_or_two_of_a_name_is_not_made(sin, made, tmp_path):
    with pytest.raises(InvalidKeyName, match=sin):
        create_keyring(tmp_path / "keys" / "k.age", made, PASSPHRASE)


def test_a_short_passphrase_makes_no_keyring(tmp_path):
    with pytest.raises(InvalidPassphrase):
        create_keyring(tmp_path / "keys" / "k.age", [HUMAN], "short")
    assert not (tmp_path / "keys").exists()


ADDER = """
import sys
from pathlib import Path
from client_sdk.secrets.keys import add_keys, new_signing_key
from contracts.kernel.types import Purpose
add_keys(Path(sys.argv[1]), [new_signing_key(sys.argv[2], Purpose.WORKLOAD)], sys.argv[3])
"""


def test_two_processes_that_add_at_once_lose_no_key(path):
    adders = [
        subprocess.Popen([sys.executable, "-c", ADDER, str(path), name, PASSPHRASE], cwd=REPOSITORY)
        for name in ("worker-2", "worker-3")
    ]
    try:
        assert [adder.wait() for adder in adders] == [0, 0]
    finally:
        for adder in adders:
            adder.kill()
    names = {key.name for key in open_keyring(path, PASSPHRASE).keys}
    assert names == {"human", "worker", "encryption", "worker-2", "worker-3"}
