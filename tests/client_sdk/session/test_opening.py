"""What a member's program holds open: found by name, opened with the right key, and trusted from the right genesis."""

import asyncio
import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from campaigns.harness.header_chain import FOUR
from client_sdk.payloads.block_folder import BlockFolder
from client_sdk.payloads.kubo import KuboStore
from client_sdk.payloads.store import StoreKind
from client_sdk.reads.trusting import TrustingReader
from client_sdk.reads.verified import VerifiedReader
from client_sdk.secrets import keys
from client_sdk.session import Session, WrongGenesis, open_session, open_store
from client_sdk.session.homes import HOME_VARIABLE
from client_sdk.session.opening import ledger_of
from client_sdk.session.profile import DEVNET, Profile, ProfileInvalid, find_profile, write_profile
from contracts.kernel import crypto
from contracts.kernel.envelope import LedgerId
from contracts.kernel.types import Purpose

DIGEST = crypto.sha256(b"a genesis")
ORGANISATION, PASSPHRASE = "hospital-a", "correct horse battery"
NOBODY_ANSWERS = "http://127.0.0.1:9"
GENESIS = {
    "chain_id": "fedledger-test",
    "genesis_time": "2026-01-01T00:00:00Z",
    "initial_height": "1",
    "validators": [
        {
            "address": "",
            "pub_key": {"type": "tendermint/PubKeyEd25519", "value": ""},
            "power": str(one.power),
            "name": "",
        }
        for one in FOUR.ordered
    ],
    "app_state": {"fedledger": base64.b64encode(b"a genesis").decode()},
}


def genesis() -> bytes:
    document: dict[str, Any] = json.loads(json.dumps(GENESIS))
    for entry, one in zip(document["validators"], FOUR.ordered, strict=True):
        entry["address"] = one.address.hex().upper()
        entry["pub_key"]["value"] = base64.b64encode(one.pub_key).decode()
    return json.dumps(document).encode()


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A devnet's home, as far as a member's program looks at it; the keyring takes a third of a second."""
    home = tmp_path_factory.mktemp("member") / "devnet"
    folder = home / "members" / ORGANISATION
    folder.mkdir(parents=True, mode=0o700)
    (home / "manifest.toml").touch()
    (home / "genesis.json").write_bytes(genesis())
    (home / "passphrase").write_text(PASSPHRASE)
    (home / "passphrase").chmod(0o600)
    held = [
        keys.new_signing_key("human", Purpose.HUMAN),
        keys.new_signing_key("worker", Purpose.WORKLOAD),
        keys.new_encryption_key("encryption"),
    ]
    keys.create_keyring(folder / f"{ORGANISATION}.age", held, PASSPHRASE)
    write_profile(
        folder / "profile.toml",
        Profile(
            organisation=ORGANISATION,
            chain_id="fedledger-test",
            genesis=home / "genesis.json",
            genesis_sha256=crypto.sha256(genesis()).hex(),
            rpc=(NOBODY_ANSWERS,),
            store=StoreKind.LOCAL,
            store_address=str(home / "blocks"),
            keyring=folder / f"{ORGANISATION}.age",
            passphrase=home / "passphrase",
        ),
    )
    return home


def opened(profile: Profile, key: str | None, passphrase_file: Path | None = None) -> Session:
    """The session, open for a moment."""

    async def open_and_close() -> Session:
        async with open_session(profile, key, passphrase_file) as session:
            return session

    return asyncio.run(open_and_close())


# Finding ----------------------------------------------------------------------------------------


def test_a_profile_is_found_by_devnet_home_and_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_home = find_profile(str(home), ORGANISATION)
    by_file = find_profile(str(home / "members" / ORGANISATION / "profile.toml"), ORGANISATION)
    monkeypatch.setenv(HOME_VARIABLE, str(home.parent))
    assert by_home == by_file == find_profile(DEVNET, ORGANISATION)
    assert by_home.organisation == ORGANISATION


def test_a_profile_that_is_not_there_is_refused_by_its_path(home: Path) -> None:
    with pytest.raises(ProfileInvalid, match="hospital-z"):
        find_profile(str(home), "hospital-z")


def test_nobody_acts_for_another_organisation_by_naming_its_profile(home: Path) -> None:
    path = str(home / "members" / ORGANISATION / "profile.toml")
    with pytest.raises(ProfileInvalid, match="is the profile of hospital-a, not of hospital-b"):
        find_profile(path, "hospital-b")


# Opening ----------------------------------------------------------------------------------------


def test_a_session_signs_with_the_named_key_and_decrypts_with_the_organisation_s_identities(home: Path) -> None:
    session = opened(find_profile(str(home), ORGANISATION), "worker")
    assert session.keyring is not None
    assert session.client._signer == session.keyring.signing("worker")
    assert session.identities == (session.keyring.encryption("encryption").identity,)
    assert (session.organisation, session.client.ledger) == (ORGANISATION, LedgerId("fedledger-test", DIGEST))
    assert isinstance(session.store, BlockFolder)


def test_a_session_verifies_unless_it_is_told_to_trust_the_node(home: Path) -> None:
    async def reader_of(**options: bool) -> object:
        async with open_session(find_profile(str(home), ORGANISATION), None, **options) as session:
            return session.client.reader

    assert isinstance(asyncio.run(reader_of()), VerifiedReader)
    assert isinstance(asyncio.run(reader_of(trust_node=True)), TrustingReader)


def test_a_session_without_a_key_opens_no_keyring_and_has_no_identities(home: Path) -> None:
    profile = replace(find_profile(str(home), ORGANISATION), passphrase=home / "no-such-file")
    session = opened(profile, None)
    assert session.keyring is None
    with pytest.raises(keys.KeyNotFound):
        _ = session.identities


def test_a_key_that_the_keyring_does_not_hold_is_refused_by_name(home: Path) -> None:
    with pytest.raises(keys.KeyNotFound, match="worker-2"):
        opened(find_profile(str(home), ORGANISATION), "worker-2")


def test_an_encryption_identity_does_not_sign(home: Path) -> None:
    with pytest.raises(keys.KeyNotFound, match="encryption"):
        opened(find_profile(str(home), ORGANISATION), "encryption")


def test_a_passphrase_file_of_one_s_own_wins_over_the_profile_s(home: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "passphrase"
    wrong.write_text("not the passphrase")
    wrong.chmod(0o600)
    with pytest.raises(keys.WrongPassphrase):
        opened(find_profile(str(home), ORGANISATION), "worker", wrong)


def test_a_genesis_that_is_not_the_trusted_one_opens_nothing(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "genesis.json"
    other.write_bytes(genesis().replace(b"fedledger-test", b"another-chain"))
    with pytest.raises(WrongGenesis, match="SHA-256"):
        opened(replace(find_profile(str(home), ORGANISATION), genesis=other), None)


def test_a_genesis_that_is_not_there_opens_nothing_and_is_named(home: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "genesis.json"
    with pytest.raises(WrongGenesis, match=f"{nowhere} cannot be read: No such file or directory"):
        opened(replace(find_profile(str(home), ORGANISATION), genesis=nowhere), None)


def test_the_store_is_the_one_that_the_profile_names(home: Path) -> None:
    profile = find_profile(str(home), ORGANISATION)
    assert isinstance(open_store(profile), BlockFolder)
    kubo = replace(profile, store=StoreKind.KUBO, store_address=NOBODY_ANSWERS)
    assert isinstance(open_store(kubo), KuboStore)


@pytest.mark.parametrize("state", [None, {}, {"fedledger": 7}, {"fedledger": "no base64!"}, "text"])
def test_a_genesis_document_without_the_ledger_s_own_is_refused(state: Any) -> None:
    with pytest.raises(WrongGenesis, match="holds no ledger"):
        ledger_of({"chain_id": "fedledger-test", "app_state": state})
