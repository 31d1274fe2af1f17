"""What a query is answered, whatever it asks."""

import pytest

from abci_app import queries
from abci_app.protocol import messages as m
from abci_app.store.history import record_of
from abci_app.store.memory_store import MemoryStore
from contracts.kernel import codec, merkle
from contracts.kernel.absence import AbsenceProof, verify_absence
from contracts.kernel.state_tree import StateTree
from contracts.registry import RULES

PATH, KEY, BODY = b"identity/membership", b"membership", b"\xa1morganisations\x04"


@pytest.fixture
def ledger() -> tuple[MemoryStore, StateTree]:
    """A store and its tree before any block."""
    return MemoryStore(), StateTree(RULES.newest.stores)


def commit(ledger: tuple[MemoryStore, StateTree], writes: dict[bytes, bytes | None]) -> None:
    store, tree = ledger
    tree.apply(writes)
    store.commit(tree.version, tree.root, writes, app_version=1)


def ask(ledger: tuple[MemoryStore, StateTree], path: str, data: bytes = KEY, **options: object) -> m.ResponseQuery:
    return queries.answer(m.RequestQuery(path=path, data=data, **options), RULES, *ledger)


def test_a_proof_before_the_second_block_is_asked_for_too_early_and_the_next_block_gives_it(ledger) -> None:
    for _ in range(2):
        assert ask(ledger, "/store/identity/key", prove=True).code == queries.TOO_EARLY
        commit(ledger, {PATH: BODY})
    answer = ask(ledger, "/store/identity/key", prove=True)
    assert (answer.code, answer.height) == (0, 1)
    proof = merkle.Proof.decode([merkle.ProofOp(op.type, op.key, op.data) for op in answer.proof_ops.ops])
    merkle.verify(ledger[1].at(1).root, RULES.newest.stores, PATH, BODY, proof)


def test_the_newest_value_is_answered_without_a_proof(ledger) -> None:
    commit(ledger, {PATH: BODY})
    answer = ask(ledger, "/store/identity/key")
    assert (answer.code, answer.height) == (0, 1)
    assert merkle.open_value(PATH, answer.value) == BODY


def test_absence_is_an_empty_value_and_no_error(ledger) -> None:
    commit(ledger, {PATH: BODY})
    answer = ask(ledger, "/store/identity/key", b"nothing")
    assert (answer.code, answer.value, answer.log) == (0, b"", "absent")
    assert not answer.HasField("proof_ops")


def test_absence_is_proved_with_the_neighbours_as_they_were_in_that_version(ledger) -> None:
    """The entries beside the gap changed or vanished since: the proof is of the version before."""
    numbered = (b"identity/%d" % number for number in range(400_000))
    first, missing, last, *_ = sorted(path for path in numbered if merkle.bucket_of(path) == 7)
    commit(ledger, {first: BODY, last: BODY})
    commit(ledger, {first: b"\x01", last: None, missing: BODY})
    answer = ask(ledger, "/store/identity/key", missing.partition(b"/")[2], prove=True)
    assert (answer.code, answer.value, answer.height, answer.log) == (0, b"", 1, "absent")
    proof = AbsenceProof.decode([merkle.ProofOp(op.type, op.key, op.data) for op in answer.proof_ops.ops])
    verify_absence(ledger[1].at(1).root, RULES.newest.stores, missing, proof)
    assert (proof.gap.total, proof.gap.at) == (2, 1)
    commit(ledger, {})
    answer = ask(ledger, "/store/identity/key", missing.partition(b"/")[2], prove=True)
    assert merkle.open_value(missing, answer.value) == BODY


@pytest.mark.parametrize("key", [b"", b"x:00", b"k" * 255])
def test_a_key_that_no_state_could_hold_is_refused_when_a_proof_is_asked_for(ledger, key: bytes) -> None:
    for _ in range(2):
        commit(ledger, {PATH: BODY})
    answer = ask(ledger, "/store/identity/key", key, prove=True)
    assert answer.code == queries.BAD_QUERY
    assert "no proof at height 1" in answer.log


def test_a_store_that_lost_an_entry_gives_no_proof_and_no_crash(ledger) -> None:
    store, tree = ledger
    for _ in range(2):
        tree.apply({PATH: BODY})
        store.commit(tree.version, tree.root, {}, app_version=1)
    assert ask(ledger, "/store/identity/key", prove=True).code == queries.BAD_QUERY


@pytest.mark.parametrize(
    ("path", "data", "named"),
    [
        ("/store/nobody/key", KEY, "unknown contract"),
        ("/store/identity", KEY, "unknown path"),
        ("", b"", "unknown path"),
        ("/scan", b"\xff", "canonical"),
        ("/scan", codec.encode_plain({"prefix": b"", "after": None, "limit": 0}), "limit"),
        ("/scan", codec.encode_plain({"prefix": "text", "after": None, "limit": 1}), "prefix"),
        ("/scan", codec.encode_plain({"prefix": b""}), "map of"),
    ],
)
def test_what_cannot_be_answered_is_refused_by_name(ledger, path: str, data: bytes, named: str) -> None:
    answer = ask(ledger, path, data)
    assert answer.code == queries.BAD_QUERY
    assert named in answer.log


def test_a_height_that_is_not_kept_is_refused(ledger) -> None:
    for _ in range(3):
        commit(ledger, {PATH: BODY})
    answer = ask(ledger, "/store/identity/key", height=1)
    assert answer.code == queries.NOT_KEPT
    assert ask(ledger, "/store/identity/key", height=1, prove=True).code == queries.NOT_KEPT
    assert ask(ledger, "/store/identity/key", height=9).code == queries.TOO_EARLY
    assert "not kept" in answer.log


def test_a_scan_pages_through_everything_in_order(ledger) -> None:
    paths = [f"identity/organisations/{name}".encode() for name in "abcde"]
    commit(ledger, dict.fromkeys(paths, BODY))
    seen, after = [], None
    while True:
        wanted = codec.encode_plain({"prefix": b"identity/", "after": after, "limit": 2})
        page = codec.decode_plain(ask(ledger, "/scan", wanted).value, most=1 << 20)
        if not page:
            break
        seen += [path for path, _ in page]
        after = page[-1][0]
    assert seen == paths


# The hashes of the contracts ---------------------------------------------------------------------


def roots(ledger: tuple[MemoryStore, StateTree], height: int) -> dict:
    answer = ask(ledger, "/roots", codec.encode_plain({"height": height}))
    assert answer.code == 0, answer.log
    return codec.decode_plain(answer.value, most=1 << 16)


def recorded(ledger: tuple[MemoryStore, StateTree], writes: dict[bytes, bytes | None]) -> None:
    store, tree = ledger
    version = tree.stage(writes)
    record = record_of(version.version, 1, version.store_roots()) if writes else None
    store.commit(version.version, version.root, writes, app_version=1, record=record)
    tree.adopt(version)


def test_the_hashes_of_every_height_lead_to_its_app_hash(ledger) -> None:
    app_hashes = {}
    for writes in ({PATH: BODY}, {}, {PATH: None}, {}):
        recorded(ledger, writes)
        app_hashes[ledger[0].height] = ledger[0].app_hash
    for height, app_hash in app_hashes.items():
        answer = roots(ledger, height)
        assert [name for name, _ in answer["roots"]] == list(RULES.newest.stores)
        assert merkle.root_of_stores(dict(answer["roots"])) == app_hash
        assert (answer["height"], answer["since"], answer["oldest"]) == (height, height - (height - 1) % 2, 1)
    assert roots(ledger, 0) == roots(ledger, 4)


@pytest.mark.parametrize(
    ("asked", "named"),
    [({"height": 3}, "height 3 is not recorded, 1 to 2 are"), ({"height": -1}, "height must be"), ({}, "a map of")],
)
def test_hashes_that_cannot_be_answered_are_refused_by_name(ledger, asked, named) -> None:
    for _ in range(2):
        recorded(ledger, {PATH: BODY})
    answer = ask(ledger, "/roots", codec.encode_plain(asked))
    assert (answer.code, answer.value) == (queries.BAD_QUERY, b"")
    assert named in answer.log


def test_hashes_before_the_first_block_and_damaged_ones_are_refused(ledger) -> None:
    wanted = codec.encode_plain({"height": 0})
    assert "none are" in ask(ledger, "/roots", wanted).log
    ledger[0].commit(1, b"h", {}, app_version=1, record=b"x" * 40)
    assert "not what was written" in ask(ledger, "/roots", wanted).log


def test_a_scan_of_the_version_before_is_that_of_its_height(ledger) -> None:
    for body in (BODY, None):
        commit(ledger, {PATH: body})
    wanted = codec.encode_plain({"prefix": b"identity/", "after": None, "limit": 5})
    found = [ask(ledger, "/scan", wanted, height=height) for height in (0, 1, 2)]
    assert [(codec.decode_plain(one.value, most=1_000), one.height) for one in found] == [
        ([], 2),
        ([[PATH, BODY]], 1),
        ([], 2),
    ]
    commit(ledger, {})
    assert "height 1 is not kept" in ask(ledger, "/scan", wanted, height=1).log
    assert ask(ledger, "/scan", wanted, height=1).code == queries.NOT_KEPT
    assert ask(ledger, "/scan", wanted, height=9).code == queries.TOO_EARLY
