"""Which headers, values, transactions and results the light client accepts, on chains made here, true and forged."""

from dataclasses import replace

import pytest

from campaigns.harness.header_chain import (
    BLOCK_NS,
    CHAIN_ID,
    FOUR,
    START_NS,
    HeaderChain,
    Members,
    edited,
    forge,
    genesis_document,
)
from client_sdk import light
from client_sdk.documents.strict_json import AnswerMalformed
from client_sdk.light import OverlapTooSmall, TrustExpired, VerificationFailed
from client_sdk.light.headers import BlockId
from contracts.kernel import merkle
from contracts.kernel.crypto import sha256
from contracts.kernel.merkle import ProofOp
from contracts.kernel.state_tree import StateTree

NOW = START_NS + 1_000 * BLOCK_NS
DAY_NS = 24 * 3600 * 10**9
STORES = ("replay", "identity", "rounds")
PATH, BODY = b"identity/organisations/hospital-a", b"\xa1ano"


@pytest.fixture(scope="module")
def chain() -> HeaderChain:
    return HeaderChain().grow(6)


def trusted_at(chain: HeaderChain, height: int) -> light.TrustedState:
    state = light.trust_genesis(chain.genesis)
    for number in range(1, height + 1):
        state = follow(state, chain.signed(number), chain.validators(number))
    return state


def follow(
    state: light.TrustedState,
    signed: light.SignedHeader,
    validators: light.ValidatorSet = FOUR.set,
    now_ns: int = NOW,
) -> light.TrustedState:
    return light.verify_header(state, signed, validators, now_ns=now_ns)


def refused(what: str, state: light.TrustedState, *arguments: object, **others: object) -> str:
    with pytest.raises(VerificationFailed) as caught:
        follow(state, *arguments, **others)
    assert caught.value.what.startswith(what), caught.value
    return caught.value.why


# The truth is accepted --------------------------------------------------------------------------


def test_a_chain_is_followed_from_its_genesis_header_by_header(chain):
    state = trusted_at(chain, 6)
    assert (state.height, state.header_hash, state.validators) == (6, chain.header(6).hash, FOUR.set)


def test_the_genesis_orders_its_validators_as_consensus_does(chain):
    assert light.trust_genesis(chain.genesis).next_validators_hash == chain.header(1).validators_hash


def test_a_later_header_is_accepted_without_those_between(chain):
    assert follow(trusted_at(chain, 1), chain.signed(6)) == trusted_at(chain, 6)


def test_three_of_four_are_enough(chain):
    signed = forge(chain.header(2), FOUR, absent=[1])
    assert follow(trusted_at(chain, 1), signed).height == 2


def test_a_signature_that_does_not_hold_is_not_counted_and_stops_nobody(chain):
    signed = spoilt(chain.signed(2), 3)
    assert follow(trusted_at(chain, 1), signed).height == 2


def test_a_vote_for_nil_is_not_counted(chain):
    signed = chain.signed(2)
    nil = [replace(one, flag=light.Flag.NIL) for one in signed.commit.signatures[:2]]
    commit = replace(signed.commit, signatures=(*nil, *signed.commit.signatures[2:]))
    assert "20 of 40" in refused("commit", trusted_at(chain, 1), replace(signed, commit=commit))


def test_new_validators_are_followed_when_the_header_before_announced_them():
    changing = changed_chain()
    state = trusted_at(changing, 4)
    assert state.validators == changing.validators(4) != FOUR.set


def test_the_first_header_may_carry_the_genesis_time_but_no_later_one_its_predecessors(chain):
    genesis = light.trust_genesis(chain.genesis)
    assert chain.header(1).time_ns == genesis.time_ns
    follow(genesis, chain.signed(1))
    second = forge(replace(chain.header(2), time_ns=chain.header(1).time_ns), FOUR)
    assert "time" in refused("header 2", trusted_at(chain, 1), second)


def test_a_checkpoint_begins_a_chain_of_trust(chain):
    state = light.trust_checkpoint(CHAIN_ID, 3, chain.header(3).hash, chain.signed(3), FOUR.set)
    assert state == trusted_at(chain, 3)
    assert follow(state, chain.signed(6)).height == 6


def test_the_header_before_a_trusted_one_is_accepted_for_its_hash_alone(chain):
    nobody_signed = forge(chain.header(4), FOUR, absent=range(4))
    assert light.verify_previous(trusted_at(chain, 5), nobody_signed, FOUR.set) == trusted_at(chain, 4)


# Forgeries --------------------------------------------------------------------------------------


def spoilt(signed: light.SignedHeader, *positions: int) -> light.SignedHeader:
    entries = list(signed.commit.signatures)
    for position in positions:
        signature = entries[position].signature
        entries[position] = replace(entries[position], signature=bytes([signature[0] ^ 1]) + signature[1:])
    return replace(signed, commit=replace(signed.commit, signatures=tuple(entries)))


def changed_chain() -> HeaderChain:
    """Blocks 1 to 3 by the four, from 4 on by three newcomers and one of them."""
    chain = HeaderChain()
    newcomers = Members.of(ann=10, eve=20, fay=20, gus=20)
    chain.add()
    chain.add(after_next=newcomers)
    return chain.grow(4)


def test_exactly_two_thirds_are_not_enough():
    three = Members.of(ann=10, bob=10, cem=10)
    chain = HeaderChain(three, three).grow(1)
    lacking = forge(chain.header(1), three, absent=[0])
    assert "20 of 30" in refused("commit", light.trust_genesis(chain.genesis), lacking, three.set)
    follow(light.trust_genesis(chain.genesis), chain.signed(1), three.set)


def test_absent_spoilt_and_empty_signatures_all_lack(chain):
    state = trusted_at(chain, 1)
    refused("commit", state, forge(chain.header(2), FOUR, absent=[0, 1]))
    refused("commit", state, spoilt(chain.signed(2), 0, 1))
    entries = tuple(replace(one, signature=b"") for one in chain.signed(2).commit.signatures)
    refused("commit", state, replace(chain.signed(2), commit=replace(chain.signed(2).commit, signatures=entries)))


def test_one_validator_cannot_vote_in_anothers_place(chain):
    signed = chain.signed(2)
    first = signed.commit.signatures[0]
    copies = replace(signed.commit, signatures=(first,) * 4)
    assert "entry 1" in refused("commit 2", trusted_at(chain, 1), replace(signed, commit=copies))
    renamed = tuple(replace(first, address=one.address, signature=first.signature) for one in signed.commit.signatures)
    why = refused("commit", trusted_at(chain, 1), replace(signed, commit=replace(signed.commit, signatures=renamed)))
    assert "10 of 40" in why


def test_a_set_that_lists_a_validator_twice_is_refused():
    one = FOUR.set.members[0]
    with pytest.raises(VerificationFailed, match="twice"):
        light.ValidatorSet((one, one, *FOUR.set.members[1:]))
    with pytest.raises(VerificationFailed, match="twice"):
        light.ValidatorSet((one, replace(one, power=one.power + 1)))


def test_an_entry_too_many_or_too_few_is_refused(chain):
    signed = chain.signed(2)
    for entries in (signed.commit.signatures[:3], (*signed.commit.signatures, signed.commit.signatures[0])):
        commit = replace(signed.commit, signatures=entries)
        assert "entries" in refused("commit 2", trusted_at(chain, 1), replace(signed, commit=commit))


def test_another_chains_header_is_refused_and_so_are_votes_for_another_chain(chain):
    other = HeaderChain(chain_id="other-chain").grow(2)
    assert "other-chain" in refused("header 2", trusted_at(chain, 1), other.signed(2))
    assert "0 of 40" in refused("commit", trusted_at(chain, 1), forge(chain.header(2), FOUR, chain_id="other-chain"))


@pytest.mark.parametrize(
    "change",
    [
        {"app_hash": b"\1" * 32},
        {"data_hash": b"\1" * 32},
        {"last_results_hash": b"\1" * 32},
        {"next_validators_hash": b"\1" * 32},
        {"consensus_hash": b"\1" * 32},
        {"last_commit_hash": b"\1" * 32},
        {"evidence_hash": b"\1" * 32},
        {"proposer_address": b"\1" * 20},
        {"version_app": 2},
        {"time_ns": START_NS + 3 * BLOCK_NS},
        {"last_block_id": BlockId(b"\1" * 32, 1, b"\1" * 32)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_header_changed_after_signing_is_refused(chain, change):
    altered = edited(chain.signed(2), **change)
    assert "hashes to" in refused("header 2", trusted_at(chain, 1), altered)
    renamed = replace(altered.commit, block_id=replace(altered.commit.block_id, hash=altered.header.hash))
    refused("", trusted_at(chain, 1), replace(altered, commit=renamed))


@pytest.mark.parametrize("change", [{"height": 3}, {"round": 1}], ids=["height", "round"])
def test_a_commit_of_another_height_or_round_is_refused(chain, change):
    signed = chain.signed(2)
    refused("", trusted_at(chain, 1), replace(signed, commit=replace(signed.commit, **change)))


def test_true_votes_for_another_height_do_not_decide_a_header(chain):
    """As if everybody had signed this very block again, one height later."""
    second = forge(chain.header(2), FOUR)
    moved = replace(second.commit, height=3)
    entries = tuple(
        replace(one, signature=FOUR.keys[one.address].sign(moved.sign_bytes(CHAIN_ID, index)).signature)
        for index, one in enumerate(moved.signatures)
    )
    wrong = replace(second, commit=replace(moved, signatures=entries))
    assert "for height 3" in refused("header 2", trusted_at(chain, 1), wrong)


def test_validators_that_the_header_does_not_name_are_refused(chain):
    strangers = Members.of(mal=10, ned=10, ola=10, pat=10)
    stolen = forge(chain.header(2), strangers)
    assert "names the validators" in refused("header 2", trusted_at(chain, 1), stolen, strangers.set)


def test_validators_that_were_not_announced_are_refused(chain):
    strangers = Members.of(mal=10, ned=10, ola=10, pat=10)
    theirs = forge(replace(chain.header(2), validators_hash=strangers.set.hash), strangers)
    assert "announced" in refused("header 2", trusted_at(chain, 1), theirs, strangers.set)


def test_a_distant_header_by_strangers_is_not_decided_and_needs_one_between():
    chain = changed_chain()
    with pytest.raises(OverlapTooSmall):
        follow(trusted_at(chain, 1), chain.signed(5), chain.validators(5))
    assert follow(trusted_at(chain, 3), chain.signed(4), chain.validators(4)).height == 4


def test_exactly_a_third_of_the_trusted_power_does_not_vouch():
    three, others = Members.of(ann=10, bob=10, cem=10), Members.of(ann=10, eve=1)
    chain = HeaderChain(three, three).grow(1)
    distant = forge(replace(chain.header(1), height=3, time_ns=NOW - 1, validators_hash=others.set.hash), others)
    with pytest.raises(OverlapTooSmall, match="10 of 30"):
        follow(trusted_at(chain, 1), distant, others.set)


def test_a_block_that_does_not_follow_the_trusted_one_is_refused(chain):
    fork = forge(replace(chain.header(3), last_block_id=chain.header(2).last_block_id), FOUR)
    assert "does not follow" in refused("header 3", trusted_at(chain, 2), fork)


def test_an_older_or_the_same_height_is_refused(chain):
    for height in (2, 3):
        assert "the trusted height 3" in refused(f"header {height}", trusted_at(chain, 3), chain.signed(height))


def test_a_header_from_the_future_is_refused(chain):
    clock = chain.header(2).time_ns - light.CLOCK_DRIFT_NS
    assert "future" in refused("header 2", trusted_at(chain, 1), chain.signed(2), now_ns=clock)
    follow(trusted_at(chain, 1), chain.signed(2), now_ns=clock + 1)


def test_expired_trust_decides_nothing(chain):
    state = trusted_at(chain, 1)
    late = state.time_ns + light.TRUSTING_PERIOD_NS
    for height in (2, 5):
        with pytest.raises(TrustExpired) as caught:
            follow(state, chain.signed(height), now_ns=late)
        assert not isinstance(caught.value, VerificationFailed)
        assert follow(state, chain.signed(height), now_ns=late - 1).height == height


def test_another_block_format_is_refused(chain):
    strange = forge(replace(chain.header(2), version_block=12), FOUR)
    assert "format" in refused("header 2", trusted_at(chain, 1), strange)


def test_a_checkpoint_of_another_hash_height_or_signers_is_refused(chain):
    good = (CHAIN_ID, 3, chain.header(3).hash, chain.signed(3), FOUR.set)
    for place, wrong in (
        (0, "other-chain"),
        (1, 4),
        (2, chain.header(4).hash),
        (3, chain.signed(4)),
        (3, forge(chain.header(3), FOUR, absent=[0, 1])),
        (4, Members.of(ann=10, bob=10, cem=10).set),
    ):
        with pytest.raises(VerificationFailed):
            light.trust_checkpoint(*good[:place], wrong, *good[place + 1 :])


def test_a_header_that_the_next_one_does_not_name_is_not_its_predecessor(chain):
    for wrong in (chain.signed(3), forge(replace(chain.header(4), app_hash=b"\1" * 32), FOUR)):
        with pytest.raises(VerificationFailed):
            light.verify_previous(trusted_at(chain, 5), wrong, FOUR.set)


def test_the_genesis_proves_no_value(chain):
    with pytest.raises(light.CannotVerify):
        light.verify_value(light.trust_genesis(chain.genesis), STORES, PATH, BODY, ())


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("genesis.validators", lambda document: document["validators"].append(document["validators"][0])),
        ("genesis.validators", lambda document: document["validators"].clear()),
        ("genesis.validators[1].power", lambda document: document["validators"][1].update(power="0")),
        ("validator.address", lambda document: document["validators"][1].update(address="00" * 20)),
        ("validator.pub_key.type", lambda document: document["validators"][0]["pub_key"].update(type="other")),
        ("genesis.genesis_time", lambda document: document.update(genesis_time="yesterday")),
        ("genesis.chain_id", lambda document: document.pop("chain_id")),
    ],
)
def test_a_genesis_that_no_chain_can_have_is_refused_with_its_field(field, change):
    document = genesis_document(FOUR)
    change(document)
    with pytest.raises(AnswerMalformed) as caught:
        light.trust_genesis(document)
    assert caught.value.field == field


# What a header proves ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def proved() -> tuple[light.TrustedState, StateTree]:
    """A state of three entries at height 2, and the verified header 3 over it."""
    tree = StateTree(STORES)
    tree.apply({PATH: b"\xa1ano older"})
    tree.apply({PATH: BODY, PATH + b"-b": BODY, b"rounds/open": b"\1"})
    chain = HeaderChain()
    chain.add()
    chain.add(txs=[b"one", b"two", b"three"], results=RESULTS, app_hash=tree.root)
    chain.add()
    return trusted_at(chain, 3), tree


RESULTS = (light.TxResult(0, b"first", 1, 2, "log"), light.TxResult(201, b"", 0, 0), light.TxResult(0, b"third"))


def value(state, tree, path=PATH, body=BODY, operators=None, stores=STORES) -> None:
    light.verify_value(state, stores, path, body, tree.prove(PATH).encode() if operators is None else operators)


def test_the_next_header_proves_a_value(proved):
    value(*proved)


def test_forged_values_and_proofs_are_refused(proved):
    state, tree = proved
    operators = tree.prove(PATH).encode()
    first = operators[0]
    forgeries = {
        "another body": {"body": BODY + b"\0"},
        "no body": {"body": b""},
        "another key": {"path": PATH + b"-b"},
        "another key's proof": {"operators": tree.prove(PATH + b"-b").encode()},
        "another store": {"path": b"rounds/organisations/hospital-a"},
        "no store of the ledger": {"stores": ("replay", "rounds")},
        "another height's proof": {"operators": tree.prove(PATH, 1).encode(), "body": b"\xa1ano older"},
        "an operator less": {"operators": operators[1:]},
        "an extra operator": {"operators": (first, *operators)},
        "an extra operator with an empty key": {
            "operators": (ProofOp("simple:v", b"", merkle.Proof.decode(operators).encode()[1].data), *operators)
        },
        "another kind of operator": {"operators": (first._replace(type="iavl:v"), *operators[1:])},
        "one bit of an operator": {
            "operators": (first._replace(data=first.data[:-1] + bytes([first.data[-1] ^ 1])), *operators[1:])
        },
        "no operators": {"operators": ()},
    }
    for name, changes in forgeries.items():
        with pytest.raises(VerificationFailed) as caught:
            value(state, tree, **changes)
        assert caught.value.what.startswith("value at"), name


def test_the_header_of_the_same_height_does_not_prove_a_value(proved):
    _, tree = proved
    chain = HeaderChain()
    chain.add(app_hash=tree.root)
    with pytest.raises(VerificationFailed):
        value(trusted_at(chain, 1), tree)


def test_a_headers_transactions_are_proved_all_together_or_one_by_one():
    chain = HeaderChain()
    txs = [b"one", b"two", b"three", b"four", b"five"]
    chain.add(txs=txs)
    state = trusted_at(chain, 1)
    light.verify_transactions(state, txs)
    leaves = b"".join(sha256(b"\0" + sha256(tx)) for tx in txs)
    for index, tx in enumerate(txs):
        place = light.Inclusion(5, index, merkle.tree_aunts(leaves, index))
        light.verify_transaction(state, tx, place)
        for wrong in (
            (b"six", place),
            (tx, replace(place, index=(index + 1) % 5)),
            (tx, replace(place, total=50)),
            (tx, replace(place, aunts=place.aunts[:-1])),
        ):
            with pytest.raises(VerificationFailed):
                light.verify_transaction(state, *wrong)
    for wrong_list in (txs[:-1], [*txs, b"six"], txs[::-1], []):
        with pytest.raises(VerificationFailed):
            light.verify_transactions(state, wrong_list)


def test_the_next_header_proves_results_but_not_their_logs(proved):
    state, _ = proved
    light.verify_results(state, RESULTS)
    light.verify_results(state, [replace(result, log="anything") for result in RESULTS])
    for index, result in enumerate(RESULTS):
        light.verify_result(state, result, light.prove_result(RESULTS, index))


@pytest.mark.parametrize("change", [{"code": 1}, {"data": b"other"}, {"gas_wanted": 9}, {"gas_used": 9}])
def test_a_changed_result_is_refused(proved, change):
    state, _ = proved
    forged = (replace(RESULTS[0], **change), *RESULTS[1:])
    with pytest.raises(VerificationFailed):
        light.verify_results(state, forged)
    with pytest.raises(VerificationFailed):
        light.verify_result(state, forged[0], light.prove_result(forged, 0))
    with pytest.raises(VerificationFailed):
        light.verify_result(state, RESULTS[0], light.prove_result(RESULTS, 2))
