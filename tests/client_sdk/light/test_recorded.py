"""The light client on what a real network of four validators answered (``capture.py``), and on lies about it."""

import base64
import copy
import hashlib
import json
from pathlib import Path

import pytest

from client_sdk import light
from client_sdk.documents.strict_json import Answer, AnswerMalformed
from client_sdk.light.documents import read_signed_header, read_validators_page
from client_sdk.light.encoding import block_id
from client_sdk.rpc import answers
from contracts.kernel import crypto

RECORDED = json.loads((Path(__file__).parents[1] / "data" / "cometbft-0.39.4.json").read_text())
HEIGHTS = sorted(map(int, RECORDED["commit"]))


def signed(height: int, document: dict | None = None) -> light.SignedHeader:
    answer = document or RECORDED["commit"][str(height)]
    return read_signed_header(Answer(answer["signed_header"], "commit"))


def validators(height: int) -> light.ValidatorSet:
    page = read_validators_page(Answer(RECORDED["validators"][str(height)], "validators"))
    return light.ValidatorSet(page.members)


def results(height: int) -> tuple[light.TxResult, ...]:
    return answers.read_block_results(Answer(RECORDED["block_results"][str(height)], "block_results"))


NOW = signed(HEIGHTS[-1]).header.time_ns + 10**9


def step(state: light.TrustedState, height: int) -> light.TrustedState:
    return light.verify_header(state, signed(height), validators(height), now_ns=NOW)


def trusted_at(height: int) -> light.TrustedState:
    state = light.trust_genesis(RECORDED["genesis"])
    for number in range(1, height + 1):
        state = step(state, number)
    return state


def test_the_recording_holds_what_makes_commits_differ():
    flags = {entry.flag for height in HEIGHTS for entry in signed(height).commit.signatures}
    assert flags == set(light.Flag)
    assert {signed(height).commit.round for height in HEIGHTS} >= {0, 1}
    assert len({validators(height).hash for height in HEIGHTS}) == 2


def test_real_headers_are_accepted_one_by_one_through_a_change_of_validators():
    assert trusted_at(HEIGHTS[-1]).height == HEIGHTS[-1]


@pytest.mark.parametrize("start", [0, 1, 3])
def test_a_real_header_is_accepted_over_any_distance(start):
    base = trusted_at(start)
    for height in HEIGHTS[start + 1 :]:
        assert step(base, height).header_hash == signed(height).commit.block_id.hash


def test_real_headers_lead_back_by_their_hashes():
    state = trusted_at(HEIGHTS[-1])
    for height in reversed(HEIGHTS[:-1]):
        state = light.verify_previous(state, signed(height), validators(height))
    assert state.height == 1


def test_every_real_signature_holds_and_every_real_hash_is_ours():
    for height in HEIGHTS:
        header, commit = signed(height).header, signed(height).commit
        assert header.hash == commit.block_id.hash
        assert header.validators_hash == validators(height).hash
        present = [entry.flag is light.Flag.COMMIT for entry in commit.signatures]
        members = validators(height).members
        for index, is_present in enumerate(present):
            entry = commit.signatures[index]
            holds = crypto.verify(members[index].public, commit.sign_bytes(header.chain_id, index), entry.signature)
            assert holds is is_present


def test_the_next_real_header_names_the_part_set_too():
    for height in HEIGHTS[:-1]:
        named, decided = signed(height + 1).header.last_block_id, signed(height).commit.block_id
        assert named == decided
        assert block_id(named.hash, named.parts_total, named.parts_hash)


def test_real_transactions_and_results_are_proved():
    for height in HEIGHTS[:-1]:
        block = answers.read_block(Answer(RECORDED["block"][str(height)], "block"))
        assert block.header == signed(height).header
        light.verify_transactions(trusted_at(height), block.txs)
        light.verify_results(trusted_at(height + 1), results(height))
    with_txs = [height for height in HEIGHTS[:-1] if results(height)]
    assert with_txs
    for height in with_txs:
        with pytest.raises(light.VerificationFailed):
            light.verify_results(trusted_at(height + 1), [])


def test_a_real_inclusion_proof_holds_and_its_transaction_is_the_one_sent():
    found = answers.read_tx(Answer(RECORDED["tx"], "tx"))
    assert found.raw == base64.b64decode(RECORDED["sent"][0])
    assert found.hash == hashlib.sha256(found.raw).digest()
    assert found.place is not None
    light.verify_transaction(trusted_at(found.height), found.raw, found.place)
    with pytest.raises(light.VerificationFailed):
        light.verify_transaction(trusted_at(found.height), found.raw + b"!", found.place)


def leaves_of(value: object, path: tuple = ()) -> list[tuple]:
    """The places of all scalars within a JSON document."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [place for key, child in children for place in leaves_of(child, (*path, key))]
    return found if isinstance(value, dict | list) else [path]


def changed(value: object) -> object:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    assert isinstance(value, str)
    if value.isdecimal():
        return str(int(value) + 1)
    if "T" in value and value.endswith("Z"):
        return value.replace("20", "21", 1)
    place = len(value) // 2
    return value[:place] + ("A" if value[place] != "A" else "B") + value[place + 1 :]


def test_no_field_of_a_real_header_or_of_its_block_id_can_be_changed():
    whole = RECORDED["commit"]["3"]
    base = trusted_at(2)
    places = [place for place in leaves_of(whole) if "signatures" not in place and place != ("canonical",)]
    assert len(places) > 20
    for place in places:
        document = copy.deepcopy(whole)
        holder = document
        for key in place[:-1]:
            holder = holder[key]
        holder[place[-1]] = changed(holder[place[-1]])
        with pytest.raises((light.VerificationFailed, AnswerMalformed)):
            light.verify_header(base, signed(3, document), validators(3), now_ns=NOW)


def test_any_two_real_signatures_changed_are_too_many():
    base = trusted_at(2)
    for place in (place for place in leaves_of(RECORDED["commit"]["3"]) if "signatures" in place):
        document = copy.deepcopy(RECORDED["commit"]["3"])
        entries = document["signed_header"]["commit"]["signatures"]
        for entry in entries[:2]:
            entry[place[-1]] = changed(entry[place[-1]])
        with pytest.raises((light.VerificationFailed, AnswerMalformed)):
            light.verify_header(base, signed(3, document), validators(3), now_ns=NOW)
