"""What a query is answered, whatever it asks."""

import pytest

from abci_app import queries
from abci_app.memory_store import MemoryStore
from abci_app.protocol import messages as m
from contracts.kernel import codec, merkle
from contracts.kernel.state_tree import StateTree
from contracts.registry import STORES

PATH, KEY, BODY = b"identity/membership", b"membership", b"\xa1morganisations\x04"


@pytest.fixture
def ledger() -> tuple[MemoryStore, StateTree]:
    """A store and its tree before any block."""
    return MemoryStore(), StateTree(STORES)


def commit(ledger: tuple[MemoryStore, StateTree], writes: dict[bytes, bytes | None]) -> None:
    store, tree = ledger
    tree.apply(writes)
    store.commit(tree.version, tree.root, writes, app_version=1)


def ask(ledger: tuple[MemoryStore, StateTree], path: str, data: bytes = KEY, **options: object) -> m.ResponseQuery:
    return queries.answer(m.RequestQuery(path=path, data=data, **options), *ledger)


def test_a_proof_before_the_second_block_is_asked_for_too_early_and_the_next_block_gives_it(ledger) -> None:
    for _ in range(2):
        assert ask(ledger, "/store/identity/key", prove=True).code == queries.TOO_EARLY
        commit(ledger, {PATH: BODY})
    answer = ask(ledger, "/store/identity/key", prove=True)
    assert (answer.code, answer.height) == (0, 1)
    proof = merkle.Proof.decode([merkle.ProofOp(op.type, op.key, op.data) for op in answer.proof_ops.ops])
    merkle.verify(ledger[1].at(1).root, STORES, PATH, BODY, proof)


def test_the_newest_value_is_answered_without_a_proof(ledger) -> None:
    commit(ledger, {PATH: BODY})
    answer = ask(ledger, "/store/identity/key")
    assert (answer.code, answer.height) == (0, 1)
    assert merkle.open_value(PATH, answer.value) == BODY


def test_absence_is_an_empty_value_and_no_error(ledger) -> None:
    commit(ledger, {PATH: BODY})
    answer = ask(ledger, "/store/identity/key", b"nothing")
    assert (answer.code, answer.value, answer.log) == (0, b"", "absent")


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
    assert answer.code == queries.BAD_QUERY
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
