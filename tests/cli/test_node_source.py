"""A running node answers a comparison over its RPC as its data folder would."""

import asyncio
import base64
import json
import threading
from contextlib import contextmanager

import pytest

from abci_app import queries
from abci_app.inspection.diff_state import KeyDifference, Since, compare
from abci_app.inspection.sources import SourceFailed
from abci_app.protocol import messages as m
from campaigns.harness.fake_node import FakeNode
from cli.node_source import opened_node
from client_sdk.reads.queries import SCAN_LIMIT
from client_sdk.rpc import AddressInvalid
from contracts.kernel import codec
from contracts.registry import RULES
from tests.abci_app.inspection.test_diff_state import COMMON, Node, compared, pair


class AnsweringNode(FakeNode):
    """CometBFT's RPC over a node's application, as far as it is asked here; ``lie`` changes what it answers."""

    def __init__(self, node, lie=lambda _path, answer: answer):
        super().__init__()
        self.node, self.lie = node, lie
        self.methods = {
            "status": self.told_status,
            "abci_query": self.abci_query,
            "abci_info": lambda _: {"response": {"app_version": "1"}},
        }

    def told_status(self, _):
        node = {"network": self.node.chain, "id": "ab" * 20, "moniker": "validator-1", "version": "0.39.4"}
        sync = {
            "latest_block_height": str(self.node.store.height),
            "latest_block_time": "2026-11-02T10:00:00Z",
            "latest_block_hash": "AB" * 32,
            "latest_app_hash": "CD" * 32,
            "earliest_block_height": "1",
            "catching_up": False,
        }
        return {
            "node_info": node,
            "sync_info": sync,
            "validator_info": {"address": "EF" * 20, "voting_power": "10"},
        }

    def abci_query(self, params):
        path, data, height = params["path"], bytes.fromhex(params["data"]), int(params["height"])
        told = queries.answer(
            m.RequestQuery(path=path, data=data, height=height), RULES, self.node.store, self.node.tree
        )
        value = told.value
        if told.code == 0:
            value = codec.encode_plain(self.lie(path, codec.decode_plain(value, most=1 << 22)))
        encoded = base64.b64encode(value).decode()
        return {
            "response": {"code": told.code, "log": told.log, "key": None, "value": encoded, "height": str(told.height)}
        }


@contextmanager
def serving(node, lie=lambda _path, answer: answer, body=None):
    """The address of a running node, which has a thread and a loop of its own: who asks is not asynchronous."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    answering = AnsweringNode(node, lie)
    answering.body = body
    try:
        asyncio.run_coroutine_threadsafe(answering.start(), loop).result()
        try:
            yield answering.address
        finally:
            asyncio.run_coroutine_threadsafe(answering.stop(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def one_block():
    node = Node()
    node.block({b"rounds/a": b"1", b"rounds/b": b"1"})
    return node


def test_running_nodes_are_compared_over_rpc_as_folders_are():
    many = {b"rounds/%04d" % number: b"1" for number in range(2 * SCAN_LIMIT + 200)}
    a, b = pair([*COMMON, many], [({b"rounds/0777": b"2"}, {b"rounds/0778": None}), (None, None)])
    with serving(a) as at, serving(b) as beside, opened_node(at) as ours, opened_node(beside) as theirs:
        found = compare(ours, theirs)
    assert found == compared(a, b)
    assert found.first == KeyDifference(b"rounds/0777", b"2", b"1")
    assert (found.changed, found.only_a) == (1, 1)


def test_a_running_node_is_compared_with_another_source():
    a, b = pair(COMMON)
    b.block({b"models/x": b"1"})
    a.block()
    with serving(b) as address, opened_node(address) as theirs:
        found = compare(a.source(), theirs)
    assert (found.since, found.first) == ([Since("models", 6, known=True)], KeyDifference(b"models/x", None, b"1"))


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"error": {"message": "no"}}', b'{"result": 1}', b"\xff"])
def test_a_node_that_answers_something_else_is_a_failure_with_its_address(body):
    with (
        serving(None, body=body) as address,
        pytest.raises(SourceFailed, match=f"{address}: its answer cannot be read: status"),
        opened_node(address),
    ):
        pass


def test_what_a_node_says_instead_of_an_answer_is_a_failure_in_its_words():
    body = json.dumps({"id": -1, "error": {"code": -32603, "message": "Internal error", "data": "it is starting"}})
    with (
        serving(None, body=body.encode()) as address,
        pytest.raises(SourceFailed, match=f"{address}: the node answered: it is starting"),
        opened_node(address),
    ):
        pass


def test_a_node_that_is_not_there_is_a_failure():
    with (
        pytest.raises(SourceFailed, match=r"^http://127\.0\.0\.1:1: connection refused: nothing listens there$"),
        opened_node("http://127.0.0.1:1"),
    ):
        pass


def test_an_address_that_is_none_is_refused():
    with pytest.raises(AddressInvalid, match="is not a node's RPC address"), opened_node("http://user@127.0.0.1:1"):
        pass


def test_a_node_without_a_block_is_a_failure():
    with (
        serving(Node()) as address,
        pytest.raises(SourceFailed, match=f"{address}: .*not recorded, none are"),
        opened_node(address),
    ):
        pass


def test_a_node_that_moves_on_while_it_is_read_is_a_failure():
    node = one_block()
    with serving(node) as address, opened_node(address) as source:
        for _ in range(3):
            node.block()
        with pytest.raises(SourceFailed, match=f"{address}: .*height 1 is not kept"):
            list(source.entries(1, b"rounds/"))


@pytest.mark.parametrize(
    ("lie", "named"),
    [
        (lambda page: page[::-1], "out of order"),
        (lambda page: [*page, page[0]], "out of order"),
        (lambda page: [[b"models/x", b"1"]], "not under the prefix"),
        (lambda page: [[b"rounds/a"]], "not a path and a body"),
        (lambda page: {"entries": page}, "expected is a list"),
    ],
)
def test_entries_that_are_none_or_out_of_order_are_a_failure(lie, named):
    with (
        serving(one_block(), lambda path, answer: lie(answer) if path == "/scan" else answer) as address,
        opened_node(address) as source,
        pytest.raises(SourceFailed, match=f"{address}: .*{named}"),
    ):
        list(source.entries(1, b"rounds/"))


@pytest.mark.parametrize(
    ("lie", "named"),
    [
        (lambda answer: {**answer, "height": 2}, "the answer is for height 2"),
        (lambda answer: {**answer, "roots": []}, "must be the contracts with their hashes"),
        (lambda answer: {"height": 1}, "must be a map of"),
    ],
)
def test_hashes_of_another_height_or_of_no_contracts_are_a_failure(lie, named):
    lying = []
    with (
        serving(one_block(), lambda _path, answer: lie(answer) if lying else answer) as address,
        opened_node(address) as source,
    ):
        lying.append(True)
        with pytest.raises(SourceFailed, match=f"{address}: .*{named}"):
            source.roots(1)
