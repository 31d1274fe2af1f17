"""The hashes of the contracts are proved by the next header, whatever a node answers."""

import asyncio
from types import SimpleNamespace

import pytest

from abci_app import queries
from abci_app.protocol import messages as m
from client_sdk.light import VerificationFailed
from client_sdk.reads.contract_roots import contract_roots, recorded_roots
from client_sdk.reads.queries import QueryRefused
from client_sdk.rpc import AnswerMalformed
from contracts.kernel import codec
from contracts.registry import RULES
from tests.abci_app.inspection.test_diff_state import Node


class FromANode:
    """The RPC and the verified headers of one node; ``lie`` changes what it answers."""

    def __init__(self, lie=None):
        self.node, self.lie = Node(), lie or (lambda answer: None)
        self.app_hashes = {}
        for writes in ({b"identity/a": b"1"}, None, {b"rounds/a": b"1"}, None):
            self.node.block(writes)
            self.app_hashes[self.node.store.height + 1] = self.node.store.app_hash

    async def abci_query(self, path, data):
        told = queries.answer(m.RequestQuery(path=path, data=data), RULES, self.node.store, self.node.tree)
        value = told.value
        if told.code == 0:
            answer = codec.decode_plain(value, most=10_000)
            self.lie(answer)
            value = codec.encode_plain(answer)
        return SimpleNamespace(code=told.code, log=told.log, value=value)

    async def at(self, height):
        return SimpleNamespace(
            verified_header=SimpleNamespace(app_hash=self.app_hashes[height], height=height, version_app=1)
        )


def asked(height, lie=None):
    node = FromANode(lie)
    return asyncio.run(contract_roots(node, node, height))


def test_the_hashes_of_every_height_lead_to_the_next_header():
    found = [asked(height) for height in (1, 2, 3, 4)]
    assert [(one.height, one.since, one.oldest) for one in found] == [(1, 1, 1), (2, 1, 1), (3, 3, 1), (4, 3, 1)]
    assert found[0].roots == found[1].roots
    assert [name for name in RULES.newest.stores if found[1].roots[name] != found[2].roots[name]] == ["rounds"]
    assert tuple(found[0].roots) == RULES.newest.stores


def test_by_a_nodes_word_its_newest_height_can_be_asked_for_which_no_header_proves_yet():
    found = asyncio.run(recorded_roots(FromANode(), 0))
    assert (found.height, found.since, found.oldest) == (4, 3, 1)


def test_a_height_that_was_not_recorded_is_refused():
    with pytest.raises(QueryRefused, match="height 9 is not recorded, 1 to 4 are"):
        asked(9)


def swapped(answer):
    answer["roots"][0][1], answer["roots"][1][1] = answer["roots"][1][1], answer["roots"][0][1]


@pytest.mark.parametrize(
    ("lie", "named"),
    [
        (lambda answer: answer["roots"][3].__setitem__(1, bytes(32)), "the header of block 4 has"),
        (swapped, "the header of block 4 has"),
        (lambda answer: answer["roots"].pop(), "the header of block 4 has"),
        (lambda answer: answer["roots"].append(["strange", bytes(32)]), "the header of block 4 has"),
        (lambda answer: answer["roots"].reverse(), "the header of block 4 has"),
        (lambda answer: answer.update(height=2), "the answer is for height 2"),
    ],
)
def test_a_lie_is_found(lie, named):
    with pytest.raises(VerificationFailed, match=named):
        asked(3, lie)


@pytest.mark.parametrize(
    "lie",
    [
        lambda answer: answer.pop("since"),
        lambda answer: answer.update(extra=1),
        lambda answer: answer.update(height=-1),
        lambda answer: answer.update(oldest="1"),
        lambda answer: answer.update(roots=[]),
        lambda answer: answer.update(roots={"identity": bytes(32)}),
        lambda answer: answer["roots"].append(answer["roots"][0]),
        lambda answer: answer["roots"][0].append(1),
        lambda answer: answer["roots"][0].__setitem__(1, bytes(31)),
        lambda answer: answer["roots"].__setitem__(0, 7),
    ],
)
def test_an_answer_of_another_form_is_malformed(lie):
    with pytest.raises(AnswerMalformed, match="roots"):
        asked(3, lie)
