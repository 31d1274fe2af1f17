"""What a devnet's home is made of, and when it is refused."""

import base64
import hashlib
import json
import shutil
import stat
from collections import namedtuple

import pytest

from client_sdk.secrets import keys
from client_sdk.secrets.passphrase import read_passphrase
from contracts import identity, transition
from contracts.kernel import codec, limits
from contracts.kernel.types import Purpose
from contracts.registry import RULES
from devnet import foundation
from devnet.errors import HomeDiffers, HomeOccupied, NoDevnet, NotEnoughDisk, StateUnreadable
from devnet.layout import Layout
from devnet.manifest import Application
from tests.devnet.networks import one_validator, standard, with_stand_by


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "deep" / "devnet")


def application_genesis(layout):
    document = json.loads(layout.genesis.read_bytes())
    return base64.b64decode(document["app_state"]["fedledger"]), document["chain_id"]


def opened(layout, organisation):
    path = keys.keyring_path(layout.member(organisation), organisation)
    return keys.open_keyring(path, read_passphrase(file=layout.passphrase))


def test_the_ledger_accepts_the_genesis_and_the_founders_are_its_members(layout):
    foundation.prepare(layout, standard())
    raw, chain_id = application_genesis(layout)
    outcome = transition.genesis(RULES.newest, raw, chain_id)
    enrolled = [event.organisation for event in outcome.events if isinstance(event, identity.OrganisationEnrolled)]
    assert enrolled == ["hospital-a", "hospital-b", "lab-1", "lab-2"]
    assert chain_id.startswith("fedledger-devnet-")


def test_a_founders_first_key_and_recipient_are_those_in_its_keyring(layout):
    foundation.prepare(layout, one_validator())
    raw, _ = application_genesis(layout)
    (founder,) = codec.decode(transition.Genesis, raw, most=1 << 20).founders
    ring = opened(layout, "lab-1")
    assert founder.key.public == ring.signing("human").public
    assert founder.recipient == ring.encryption("encryption").recipient


def test_only_the_genesis_validators_decide_the_first_block_and_they_are_the_ledgers_too(layout):
    foundation.prepare(layout, with_stand_by())
    raw, _ = application_genesis(layout)
    (seated,) = codec.decode(transition.Genesis, raw, most=1 << 20).validators
    (stated,) = json.loads(layout.genesis.read_bytes())["validators"]
    assert seated.operator == "lab-1"
    assert stated["power"] == str(limits.VALIDATOR_POWER)
    keys_of = [
        json.loads(key_file(layout, name).read_bytes())["pub_key"]["value"] for name in ("validator-1", "validator-2")
    ]
    assert base64.b64encode(seated.public).decode() == stated["pub_key"]["value"] == keys_of[0] != keys_of[1]


def key_file(layout, name):
    return layout.node(name) / "config" / "priv_validator_key.json"


def test_every_member_has_a_keyring_that_the_shared_passphrase_opens(layout):
    foundation.prepare(layout, one_validator())
    for organisation in ("lab-1", "hospital-a"):
        ring = opened(layout, organisation)
        assert ring.signing("human").purpose is Purpose.HUMAN
        assert ring.signing("worker").purpose is Purpose.WORKLOAD
        assert ring.encryption("encryption").recipient.startswith("age1")


def test_everything_in_the_home_is_for_its_owner_only(layout):
    foundation.prepare(layout, one_validator())
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (layout.home, *layout.home.rglob("*"))}
    assert modes
    assert {path: mode for path, mode in modes.items() if mode & 0o077} == {}


def test_two_devnets_of_one_manifest_are_two_chains(layout, tmp_path):
    other = Layout(tmp_path / "other")
    foundation.prepare(layout, one_validator())
    foundation.prepare(other, one_validator())
    assert foundation.genesis_facts(layout)[0] != foundation.genesis_facts(other)[0]


def test_the_genesis_hash_is_of_the_files_bytes(layout):
    foundation.prepare(layout, one_validator())
    chain_id, digest = foundation.genesis_facts(layout)
    assert digest == hashlib.sha256(layout.genesis.read_bytes()).hexdigest()
    assert (layout.node("validator-1") / "config" / "genesis.json").read_bytes() == layout.genesis.read_bytes()
    layout.genesis.write_text("{}")
    with pytest.raises(StateUnreadable, match="chain_id"):
        foundation.genesis_facts(layout)
    assert chain_id.startswith("one-")


def test_preparing_again_changes_nothing(layout):
    foundation.prepare(layout, one_validator())
    before = {path: path.read_bytes() for path in layout.home.rglob("*") if path.is_file()}
    foundation.prepare(layout, one_validator())
    assert {path: path.read_bytes() for path in layout.home.rglob("*") if path.is_file()} == before


def test_a_home_of_another_manifest_is_refused(layout):
    foundation.prepare(layout, one_validator())
    with pytest.raises(HomeDiffers, match=str(layout.home)):
        foundation.prepare(layout, one_validator(Application.KVSTORE))


def test_a_folder_with_other_things_in_it_is_left_alone(layout):
    layout.home.mkdir(parents=True)
    foundation.prepare(layout, one_validator())  # An empty one is taken.
    shutil.rmtree(layout.home)
    layout.home.mkdir()
    (layout.home / "thesis.txt").write_text("ten years of work")
    with pytest.raises(HomeOccupied):
        foundation.prepare(layout, one_validator())
    with pytest.raises(NoDevnet):
        foundation.erase(layout)
    assert (layout.home / "thesis.txt").read_text() == "ten years of work"


def test_a_home_appears_whole_or_not_at_all(layout, monkeypatch):
    def fails(*args):
        raise OSError("disk full")

    monkeypatch.setattr(foundation.cometbft_home, "create_home", fails)
    with pytest.raises(OSError, match="disk full"):
        foundation.prepare(layout, one_validator())
    assert list(layout.home.parent.iterdir()) == []


def test_too_little_disk_is_refused_before_anything_is_made(layout, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(foundation.shutil, "disk_usage", lambda folder: usage(10, 10, 5 << 20))
    with pytest.raises(NotEnoughDisk, match="5 MiB are free"):
        foundation.prepare(layout, one_validator())
    assert not layout.home.exists()


def test_erasing_removes_the_whole_home(layout):
    foundation.prepare(layout, one_validator())
    foundation.erase(layout)
    assert not layout.home.exists()
