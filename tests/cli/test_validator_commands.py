"""``fedledger validator`` over the in-memory chain: who decides blocks, and how that changes."""

import json

import pytest

from campaigns.harness import consortium
from campaigns.harness.consortium import HOSPITAL_A, HOSPITAL_B, HOSPITAL_C, LAB, MEMBERS, OPERATORS
from client_sdk.secrets.validator_keys import address_of
from contracts.governance import PROPOSALS, ProposalStatus
from contracts.validators import SET
from devnet import cometbft_home


@pytest.fixture
def key_file(tmp_path):
    """The key of a fifth node."""
    keys = cometbft_home.ValidatorKeys("validator-5", HOSPITAL_C.validator.seed, bytes(32))
    cometbft_home.create_home(tmp_path / "node", keys, b"{}")
    return tmp_path / "node" / "config" / "priv_validator_key.json"


def vote(run, who, number, voters=MEMBERS[1:5]):
    for member in voters:
        last = run("proposal", "vote", number, "--approve", *who.of(member, "human"))
        assert last.status == 0, last.err
    return last


def seated(who):
    return {one.public: one.operator for one in SET.at(who.chain.view).validators}


def test_the_validators_are_listed_with_their_operators_and_addresses(run, members):
    who = members(consortium.founded())
    text = run("validator", "list", *who.of(LAB))
    assert text.status == 0
    listed = run("validator", "list", *who.of(LAB), "--format", "json").data
    assert {each["operator"] for each in listed} == {member.name for member in OPERATORS}
    for each in listed:
        assert each["public"] in text.out
        assert each["address"] == address_of(bytes.fromhex(each["public"])) in text.out
        assert each["power"] == 10


def test_a_validator_is_proved_on_its_machine_and_proposed_and_admitted_elsewhere(run, members, key_file):
    who = members(consortium.founded())
    proved = run("validator", "prove", "--operator", "hospital-c", "--key-file", key_file, *who.of(HOSPITAL_C))
    assert proved.status == 0
    (command,) = (line for line in proved.out.splitlines() if "validator admit" in line)
    stated = command.split("fedledger ")[1].split(" --as")[0].split()
    made = run(*stated, *who.of(HOSPITAL_A, "human"), "--format", "json").data
    assert "hospital-c" in run("proposal", "show", *who.of(LAB)).out
    assert HOSPITAL_C.validator.public.hex() in run("proposal", "show", made["proposal"], *who.of(LAB)).out
    assert "passed" in vote(run, who, made["proposal"]).out
    assert seated(who)[HOSPITAL_C.validator.public] == "hospital-c"


def test_the_proof_says_nothing_of_the_key(run, members, key_file):
    who = members(consortium.founded())
    secret = json.loads(key_file.read_text())["priv_key"]["value"]
    for form in ("txt", "json"):
        options = (*who.of(HOSPITAL_C), "--format", form)
        proved = run("validator", "prove", "--operator", "hospital-c", "--key-file", key_file, *options)
        assert secret not in proved.out + proved.err
        assert HOSPITAL_C.validator.seed.hex() not in proved.out + proved.err


@pytest.mark.parametrize("named", ["key", "address"])
def test_a_validator_is_replaced_and_removed_by_its_key_or_its_address(run, members, key_file, named):
    who = members(consortium.founded())
    leaving = LAB.validator.public
    name = leaving.hex() if named == "key" else address_of(leaving)
    options = ("--operator", "hospital-c", "--key-file", key_file, *who.of(HOSPITAL_A, "human"), "--format", "json")
    made = run("validator", "admit", *options, "--replaces", name).data
    assert leaving.hex() in run("proposal", "show", made["proposal"], *who.of(LAB)).out
    vote(run, who, made["proposal"])
    assert leaving not in seated(who)
    gone = run("validator", "remove", name, *who.of(HOSPITAL_A, "human"))
    assert gone.status == 1
    assert "UNKNOWN_VALIDATOR (1001)" in gone.err


def test_one_of_five_is_removed_and_one_of_four_is_not(run, members, key_file):
    who = members(consortium.founded())
    refused = run("validator", "remove", LAB.validator.public.hex(), *who.of(HOSPITAL_B, "human"))
    assert refused.status == 1
    assert "POWER_CONCENTRATED (1007)" in refused.err
    assert "Admit validators of other organisations first" in refused.err
    options = ("--operator", "hospital-c", "--key-file", key_file, *who.of(HOSPITAL_A, "human"), "--format", "json")
    vote(run, who, run("validator", "admit", *options).data["proposal"])
    removal = run("validator", "remove", LAB.validator.public.hex(), *who.of(HOSPITAL_A, "human"), "--format", "json")
    vote(run, who, removal.data["proposal"])
    assert LAB.validator.public not in seated(who)
    assert PROPOSALS.at(who.chain.view, removal.data["proposal"]).status is ProposalStatus.PASSED


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ((), "a public key has 32 bytes"),
        (("--public", "zz", "--proof", "00"), "are hexadecimal"),
        (("--public", "00" * 32, "--proof", "00" * 63), "a proof 64"),
    ],
)
def test_an_admission_without_a_key_or_a_proof_is_a_wrong_usage(run, members, options, why):
    who = members(consortium.founded())
    ran = run("validator", "admit", "--operator", "hospital-c", *options, *who.of(HOSPITAL_A, "human"))
    assert ran.status == 4
    assert why in ran.err
    assert "fedledger validator prove" in ran.err
    assert who.node.sent == []


def test_a_file_without_a_consensus_key_is_told(run, members, key_file):
    who = members(consortium.founded())
    other = key_file.with_name("node_key.json")
    ran = run("validator", "prove", "--operator", "hospital-c", "--key-file", other, *who.of(HOSPITAL_C))
    assert ran.status != 0
    assert "NO_VALIDATOR_KEY" in ran.err
