"""Transition: what one transaction and one block do, whoever sent them and whatever goes wrong inside."""

import hashlib
from typing import Any

import pytest
from nacl import bindings

from campaigns.harness import consortium
from campaigns.harness.chain import CHAIN_ID, Chain, Committed, Signer, at_height, facts_of
from campaigns.harness.consortium import (
    AUDITOR,
    HOSPITAL_A,
    HOSPITAL_B,
    HOSPITALS,
    NEWCOMER,
    TASK,
    TERMS,
    commit,
    reserve,
)
from contracts import identity, origin, transition
from contracts.contributions import Reserve
from contracts.governance import OpenTask, Propose
from contracts.identity import KEYS, AddKey, KeyIsRevoked, RevokeKey, UnknownKey
from contracts.kernel import Context, Outcome, Write, codec, crypto, envelope, limits, replay
from contracts.kernel.codec import Malformed
from contracts.kernel.envelope import LedgerId
from contracts.kernel.state import InvariantBroken, ReadFailed
from contracts.kernel.types import Purpose
from contracts.registry import RULES
from contracts.rounds import OpenRound, RoundOpened, WrongPhase
from contracts.transition import (
    BadSignature,
    BlockContext,
    Expired,
    MalformedTransaction,
    MissingRole,
    Replayed,
    Transaction,
    UnknownMessage,
    ValidTooLong,
    WrongChain,
    WrongPurpose,
)
from tests.vectors_io import VectorWriter

A_KEY = AddKey(HOSPITAL_A.key(identity.Purpose.WORKLOAD, 1).enrolment())


def sealed(chain: Chain, tag: str, body: Any) -> bytes:
    """Plain data under any tag, signed by a hospital's workload key."""
    return envelope.seal(
        HOSPITAL_A.worker, chain.ledger, tag=tag, body=body, nonce=bytes(16), valid_until=chain.height + 5
    )


# --- what the envelope must be ---


@pytest.mark.vectors
def test_a_body_with_an_unknown_field_is_malformed(vector: VectorWriter) -> None:
    """A body holds exactly the fields of its message: one more is refused by name, after authentication."""
    chain = consortium.round_open()
    body = {"task": TASK, "round": 1, "dataset": "wdbc", "comment": "please"}
    assert vector.refused_raw(chain, MalformedTransaction, sealed(chain, Reserve.tag, body)) == {
        "field": "*",
        "fault": "unknown",
    }


@pytest.mark.vectors
def test_a_float_in_a_body_is_malformed(vector: VectorWriter) -> None:
    """No floats: an amount that is not an integer is refused even where DAG-CBOR would allow it."""
    chain = consortium.round_open()
    body = {"task": TASK, "round": 1.0, "dataset": "wdbc"}
    assert vector.refused_raw(chain, MalformedTransaction, sealed(chain, Reserve.tag, body))["field"] == "round"


@pytest.mark.vectors
def test_bytes_after_the_envelope_are_malformed(vector: VectorWriter) -> None:
    """One transaction has one form: a trailing byte is refused, and nothing is remembered of it."""
    chain = consortium.round_open()
    raw = chain.seal(HOSPITAL_A, reserve())
    facts = vector.refused_raw(chain, MalformedTransaction, raw + b"\0")
    assert facts == {"field": "envelope", "fault": "template"}
    chain.refused_raw(MalformedTransaction, raw[:-1])
    assert chain.block(raw)[0].code == 0


@pytest.mark.vectors
def test_no_bytes_at_all_are_malformed(vector: VectorWriter) -> None:
    """An empty transaction is refused like any other bytes that are not an envelope."""
    vector.refused_raw(consortium.founded(), MalformedTransaction, b"")


def test_a_transaction_over_the_size_limit_is_malformed() -> None:
    facts = consortium.founded().refused_raw(MalformedTransaction, bytes(limits.TX_BYTES + 1))
    assert facts == {"field": "envelope", "fault": "length"}


@pytest.mark.vectors
def test_a_message_of_an_unknown_type(vector: VectorWriter) -> None:
    """The ledger does exactly what its table of messages says: another tag is refused by name."""
    chain = consortium.round_open()
    assert vector.refused_raw(chain, UnknownMessage, sealed(chain, "tokens/mint", {})) == {"type": "tokens/mint"}


def test_an_unknown_tag_of_any_length_and_alphabet_gives_a_bounded_ascii_fact() -> None:
    chain = consortium.round_open()
    fact = str(chain.refused_raw(UnknownMessage, sealed(chain, "é" * 9_000, {}))["type"])
    assert fact.isascii()
    assert len(fact) <= transition.MOST_FACT_CHARS


# --- who signed it, for which chain, and until when ---


@pytest.mark.vectors
def test_a_transaction_for_another_chain(vector: VectorWriter) -> None:
    """What was signed for one chain says nothing on another."""
    chain = consortium.founded()
    ours, theirs = chain.ledger, LedgerId("another-chain", chain.ledger.genesis)
    facts = vector.refused_raw(chain, WrongChain, chain.seal(HOSPITAL_A, A_KEY, ledger=theirs))
    named = {"chain": "another-chain", "genesis": ours.genesis}
    assert facts == {**named, "wanted": ours.chain_id, "wanted_genesis": ours.genesis}


@pytest.mark.vectors
def test_a_transaction_for_a_chain_of_the_same_name(vector: VectorWriter) -> None:
    """A name is not a ledger: what was signed for one that began otherwise says nothing on this one."""
    chain, other = consortium.founded(), bytes(32)
    raw = chain.seal(HOSPITAL_A, A_KEY, ledger=LedgerId(CHAIN_ID, other))
    facts = vector.refused_raw(chain, WrongChain, raw)
    assert (facts["chain"], facts["genesis"], facts["wanted_genesis"]) == (CHAIN_ID, other, chain.ledger.genesis)


@pytest.mark.vectors
def test_a_transaction_past_its_last_height(vector: VectorWriter) -> None:
    """`valid_until` is the last height that may include the transaction: one block later it is refused."""
    chain = consortium.founded()
    raw = chain.seal(HOSPITAL_A, A_KEY, valid_until=3)
    at_height(chain, 4)
    assert vector.refused_raw(chain, Expired, raw) == {"valid_until": 3, "height": 4}


def test_the_last_height_itself_still_includes_a_transaction() -> None:
    chain = consortium.founded()
    raw = chain.seal(HOSPITAL_A, A_KEY, valid_until=3)
    at_height(chain, 3)
    assert chain.block(raw)[0].code == 0


@pytest.mark.vectors
def test_a_transaction_valid_for_too_long(vector: VectorWriter) -> None:
    """Replay protection remembers TX_VALIDITY_BLOCKS ahead, so nothing may stay valid longer."""
    chain = consortium.founded()
    furthest = 1 + limits.TX_VALIDITY_BLOCKS
    raw = chain.seal(HOSPITAL_A, A_KEY, valid_until=furthest + 1)
    assert vector.refused_raw(chain, ValidTooLong, raw) == {"valid_until": furthest + 1, "furthest": furthest}


def test_the_furthest_height_is_allowed() -> None:
    chain = consortium.founded()
    assert chain.block(chain.seal(HOSPITAL_A, A_KEY, valid_until=1 + limits.TX_VALIDITY_BLOCKS))[0].code == 0


@pytest.mark.vectors
def test_a_key_nobody_enrolled(vector: VectorWriter) -> None:
    """A valid signature by a key that no organisation enrolled is refused, and leaves no trace in the state."""
    chain = consortium.founded()
    root = chain.root
    facts = vector.refused_raw(chain, UnknownKey, chain.seal(NEWCOMER.human, A_KEY))
    assert facts == {"key": NEWCOMER.human.public}
    assert chain.root == root


@pytest.mark.vectors
def test_a_key_after_its_revocation(vector: VectorWriter) -> None:
    """From its revocation on, a key's signature is refused before anything else is looked at."""
    chain = consortium.round_open()
    chain.submit(HOSPITAL_A, RevokeKey(HOSPITAL_A.worker.public))
    facts = vector.refused(chain, KeyIsRevoked, HOSPITAL_A, reserve())
    assert facts == {"key": HOSPITAL_A.worker.public, "revoked_from": chain.height - 1, "index": 0}


def test_a_revocation_counts_from_its_own_place_in_the_block() -> None:
    chain = consortium.round_open()
    before, revocation, after = chain.block(
        (HOSPITAL_B, reserve()),
        (HOSPITAL_A, RevokeKey(HOSPITAL_A.worker.public)),
        (HOSPITAL_A, reserve()),
    )
    assert (before.code, revocation.code, after.code) == (0, 0, KeyIsRevoked.code)


@pytest.mark.vectors
def test_a_changed_signature(vector: VectorWriter) -> None:
    """One changed bit of the signature, and nobody has signed it."""
    chain = consortium.founded()
    raw = chain.seal(HOSPITAL_A, A_KEY)
    vector.refused_raw(chain, BadSignature, raw[:-1] + bytes([raw[-1] ^ 1]))
    assert chain.block(raw)[0].code == 0, "what nobody signed is not remembered, so the original still counts"


@pytest.mark.vectors
def test_a_human_key_cannot_do_a_workload(vector: VectorWriter) -> None:
    """A machine trains, a person consents: a human key's reservation is refused."""
    chain = consortium.round_open()
    facts = vector.refused(chain, WrongPurpose, HOSPITAL_A.human, reserve())
    assert facts == {"purpose": "human", "wanted": "workload"}


def test_a_workload_key_cannot_consent_govern_or_revoke() -> None:
    chain = consortium.task_open()
    for message in (consortium.join(), Propose(OpenTask(TERMS)), RevokeKey(HOSPITAL_A.human.public), A_KEY):
        chain.refused(WrongPurpose, HOSPITAL_A.worker, message)


@pytest.mark.vectors
def test_an_organisation_without_the_role(vector: VectorWriter) -> None:
    """An auditor was not admitted as an aggregator, so it opens no round."""
    facts = vector.refused(consortium.joined(), MissingRole, AUDITOR, OpenRound(TASK))
    assert facts == {"organisation": "auditor", "wanted": "aggregator"}


# --- replay ---


@pytest.mark.vectors
def test_the_same_bytes_twice(vector: VectorWriter) -> None:
    """A transaction is decided once: its bytes are refused when they come again."""
    chain = consortium.founded()
    raw = chain.seal(HOSPITAL_A, A_KEY)
    chain.block(raw)
    assert vector.refused_raw(chain, Replayed, raw) == {"transaction": envelope.parse(raw).identity}


def test_a_transaction_twice_in_one_block_counts_once() -> None:
    chain = consortium.founded()
    raw = chain.seal(HOSPITAL_A, A_KEY)
    assert [result.code for result in chain.block(raw, raw)] == [0, Replayed.code]


@pytest.mark.vectors
def test_the_same_signed_structure_under_another_valid_signature(vector: VectorWriter) -> None:
    """A key can sign one structure in many ways, all valid: the structure is remembered, not its envelope."""
    chain = consortium.founded()
    raw = chain.seal(HOSPITAL_A, A_KEY)
    chain.block(raw)
    signed = envelope.parse(raw)
    other = another_signature(HOSPITAL_A.human.seed, signed.signed)
    assert other != signed.signature
    assert crypto.verify(signed.key, signed.signed, other)
    vector.refused_raw(chain, Replayed, raw[:-64] + other)


def another_signature(seed: bytes, statement: bytes) -> bytes:
    """A valid Ed25519 signature whose secret nonce is chosen instead of derived (RFC 8032, section 5.1.6)."""
    order = 2**252 + 27742317777372353535851937790883648493
    secret = int.from_bytes(hashlib.sha512(seed).digest()[:32], "little") & ((1 << 254) - 8) | (1 << 254)
    nonce = 12345
    point = bindings.crypto_scalarmult_ed25519_base_noclamp(nonce.to_bytes(32, "little"))
    challenge = hashlib.sha512(point + crypto.public_key(seed) + statement).digest()
    scalar = (nonce + int.from_bytes(challenge, "little") * secret) % order
    return point + scalar.to_bytes(32, "little")


def test_a_transaction_refused_after_authentication_is_remembered() -> None:
    chain = consortium.round_open()
    raw = chain.seal(AUDITOR, reserve())
    assert chain.block(raw)[0].code == MissingRole.code
    chain.refused_raw(Replayed, raw)


def test_a_transaction_refused_before_authentication_leaves_no_mark() -> None:
    chain = consortium.founded()
    root = chain.root
    chain.refused_raw(Expired, chain.seal(HOSPITAL_A, A_KEY, valid_until=0))
    chain.refused_raw(WrongChain, chain.seal(HOSPITAL_A, A_KEY, ledger=LedgerId("other", bytes(32))))
    chain.refused_raw(MalformedTransaction, b"junk")
    assert chain.root == root


def test_marks_are_dropped_once_their_height_has_passed() -> None:
    chain = consortium.founded()
    chain.block(chain.seal(HOSPITAL_A, A_KEY, valid_until=2))
    assert len(list(chain.view.scan(b"replay/"))) == 1
    at_height(chain, 3)
    chain.submit(HOSPITAL_B, AddKey(HOSPITAL_B.worker.enrolment()))
    marks = [path for path, _ in chain.view.scan(b"replay/")]
    assert [path.startswith(b"replay/seen/0000000022/") for path in marks] == [True]


def test_an_empty_block_changes_nothing_not_even_expired_marks() -> None:
    chain = consortium.founded()
    chain.block(chain.seal(HOSPITAL_A, A_KEY, valid_until=2))
    root = chain.root
    at_height(chain, 10)
    assert chain.root == root


# --- what a block does ---


def test_transactions_of_one_block_see_each_other_in_order() -> None:
    chain = consortium.round_open()
    reserved = [(hospital, reserve()) for hospital in HOSPITALS]
    codes = [result.code for result in chain.block((HOSPITAL_A, commit()), *reserved, (HOSPITAL_A, commit()))]
    assert codes == [WrongPhase.code, 0, 0, 0, 0, 0]


def test_the_results_of_a_block_cover_what_is_provable_and_nothing_else() -> None:
    chain = consortium.round_open()
    accepted, refused = chain.block((HOSPITAL_A, reserve()), (HOSPITAL_A, reserve(number=2)))
    assert [tag for tag, _ in codec.decode_plain(accepted.data, most=10_000)] == [
        "privacy_budget/budget-held",
        "contributions/reserved",
    ]
    assert accepted.log == ""
    assert facts_of(refused) == {"task": TASK, "round": 2}
    assert "UNKNOWN_ROUND(task=breast-cancer, round=2)" in refused.log


def test_a_ledger_takes_the_word_of_the_transaction_it_is_given() -> None:
    """A node remembers what it has verified; the core asks nothing twice of the same object."""

    class Forged(Transaction):
        is_authentic = False

    chain = consortium.founded()
    raw = chain.seal(HOSPITAL_A, A_KEY)
    (result,), _ = transition.apply_block(chain.rules, chain.view, [Forged(raw)], chain.next_block())
    assert result.code == BadSignature.code
    known = Transaction(raw)
    for _ in range(2):  # The same object decides the same, however much of it was worked out before.
        assert transition.apply_tx(chain.rules, chain.view, known, chain.next_block()).code == 0


def test_an_unknown_keys_signature_is_not_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = consortium.founded()
    unknown = Transaction(chain.seal(HOSPITAL_A.worker, reserve()))
    monkeypatch.setattr(crypto, "verify", lambda *_: pytest.fail("verified"))
    assert transition.apply_tx(chain.rules, chain.view, unknown, chain.next_block()).code == UnknownKey.code


def test_a_recheck_runs_no_handler_and_notices_what_ends_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = consortium.round_open()
    raw, replayed = chain.seal(HOSPITAL_A, reserve()), chain.seal(HOSPITAL_B, reserve())
    chain.block(replayed)
    monkeypatch.setattr(transition, "_dispatch", lambda *_: pytest.fail("a handler"))
    assert transition.may_wait(chain.rules, chain.view, Transaction(raw), chain.next_block()).code == 0
    assert transition.may_wait(chain.rules, chain.view, Transaction(replayed), chain.next_block()).code == Replayed.code
    assert (
        transition.may_wait(chain.rules, chain.view, Transaction(raw[:-1]), chain.next_block()).code
        == MalformedTransaction.code
    )
    late = BlockContext(chain.chain_id, chain.height + 100, chain.time_ms)
    assert transition.may_wait(chain.rules, chain.view, Transaction(raw), late).code == Expired.code
    monkeypatch.undo()
    chain.submit(HOSPITAL_A, RevokeKey(HOSPITAL_A.worker.public))
    refused = transition.may_wait(chain.rules, chain.view, Transaction(raw), chain.next_block())
    assert (refused.code, refused.writes) == (KeyIsRevoked.code, ())


# --- a bug of ours, and a machine that cannot go on ---


def buggy(chain: Chain, monkeypatch: pytest.MonkeyPatch, handler: Any) -> Any:
    """Decide a reservation with its handler exchanged; the result and whether any write but the mark was made."""
    monkeypatch.setitem(RULES.newest.handlers, Reserve, handler)
    return chain.block((HOSPITAL_A, reserve()))[0]


def raising(error: BaseException) -> Any:
    def handler(*_: Any) -> Outcome:
        raise error

    return handler


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), KeyError("x"), Malformed("x", "y"), InvariantBroken("x")])
def test_a_bug_in_a_handler_becomes_code_1_and_changes_nothing(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = consortium.round_open()
    result = buggy(chain, monkeypatch, raising(error))
    assert result.code == transition.INTERNAL_ERROR
    assert facts_of(result) == {}
    assert type(error).__name__ in result.log
    assert [path.startswith(b"replay/seen/") for path, _ in result.writes] == [True]


class PanicException(BaseException):
    """As the Rust bindings of Python raise it when a library panics: no Exception."""


def test_a_panic_of_a_library_is_a_bug_and_halts_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    result = buggy(consortium.round_open(), monkeypatch, raising(PanicException("index out of bounds")))
    assert (result.code, facts_of(result)) == (transition.INTERNAL_ERROR, {})
    assert "PanicException" in result.log


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_who_stops_a_node_stops_it(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(type(error)):
        buggy(consortium.round_open(), monkeypatch, raising(error))


def test_a_stranger_s_envelope_costs_its_key_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of its payload is decoded and nothing hashed; that it is no message at all is not even noticed."""
    chain, reads = consortium.round_open(), []
    stranger = Signer("nobody", Purpose.WORKLOAD)
    sealed = envelope.parse(chain.seal(stranger, reserve()))
    head, junk = envelope._head, b"\x81" * 40_000
    raw = b"\xd2\x84" + head(2, sealed.protected) + b"\xa0" + head(2, junk) + head(2, bytes(64))
    view = chain.view

    class Counting:
        def get(self, path: bytes) -> bytes | None:
            reads.append(path)
            return view.get(path)

    for owner, name in ((crypto, "did_key"), (crypto, "sha256"), (crypto, "verify")):
        monkeypatch.setattr(owner, name, lambda *_, **__: pytest.fail("touched the payload"))
    result = transition.apply_tx(RULES.newest, Counting(), Transaction(raw), chain.next_block())
    assert result.code == UnknownKey.code
    assert reads == [origin.ORIGIN.path(), KEYS.path(stranger.public)]


def test_a_bug_is_decided_once_and_the_rest_of_the_block_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = consortium.round_open()
    monkeypatch.setitem(RULES.newest.handlers, Reserve, raising(ZeroDivisionError()))
    raw = chain.seal(HOSPITAL_A, reserve())
    first, again, other = chain.block(
        raw, raw, (HOSPITAL_B, AddKey(HOSPITAL_B.key(identity.Purpose.HUMAN, 1).enrolment()))
    )
    assert (first.code, again.code, other.code) == (transition.INTERNAL_ERROR, Replayed.code, 0)


def test_a_handler_that_writes_a_path_twice_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    write = Write(b"contributions/x", b"\xa0")
    result = buggy(consortium.round_open(), monkeypatch, lambda *_: Outcome((write, write)))
    assert result.code == transition.INTERNAL_ERROR


def test_an_event_out_of_its_bounds_is_a_bug_and_halts_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    announced = RoundOpened(TASK, 1, base=-1, invited=4)
    result = buggy(consortium.round_open(), monkeypatch, lambda *_: Outcome((), (announced,)))
    assert result.code == transition.INTERNAL_ERROR


@pytest.mark.parametrize("error", [MemoryError(), RecursionError(), ReadFailed("disk")])
def test_what_this_machine_cannot_do_halts_it_instead_of_deciding_differently(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(type(error)):
        buggy(consortium.round_open(), monkeypatch, raising(error))


def test_a_handler_knows_nothing_but_view_message_and_context(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Context] = []

    def handler(view: Any, message: Any, context: Context) -> Outcome:
        seen.append(context)
        return Outcome()

    chain = consortium.round_open()
    block: BlockContext = chain.next_block()
    buggy(chain, monkeypatch, handler)
    assert seen == [
        Context(
            chain.ledger.genesis, block.height, 0, block.time_ms, HOSPITAL_A.worker.public, "hospital-a", TERMS_ROLES
        )
    ]


def test_pruning_is_bounded_per_block() -> None:
    committed = Committed()
    marks = limits.REPLAY_PRUNED_PER_BLOCK + 10
    committed.apply(dict(replay.mark(1, i.to_bytes(32, "big"), 1) for i in range(marks)))
    assert len(replay.prune(committed, 5)) == limits.REPLAY_PRUNED_PER_BLOCK


TERMS_ROLES = consortium.ROLES[HOSPITAL_A]
