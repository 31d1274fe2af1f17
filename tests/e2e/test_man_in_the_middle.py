"""A man in the middle changes a value, a proof, a header, a key: CometBFT's stock light proxy and our reader refuse.

On a real validator. Where the two differ, the table says so: the proxy does not compare the key in an answer with the
key that was asked for, and cannot verify that there is nothing.
"""

import asyncio
import base64
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from campaigns.harness import comet
from campaigns.harness.chain import CHAIN_ID
from campaigns.harness.consortium import HOSPITAL_A, HOSPITAL_B
from client_sdk import light
from client_sdk.client import LedgerClient
from client_sdk.documents.strict_json import Answer
from client_sdk.light.documents import read_signed_header
from client_sdk.reads.verified import VerifiedReader
from client_sdk.rpc import AnswerMalformed, NodeError, RpcClient
from client_sdk.session.opening import ledger_of
from contracts import identity
from contracts.identity import AddKey, KeyAdded
from contracts.kernel import merkle
from contracts.kernel.absence import OPERATOR as ABSENT
from contracts.kernel.merkle import Step
from contracts.kernel.state_tree import StateTree
from contracts.registry import RULES
from tests.e2e.man_in_the_middle import Lie, Middle, stock_proxy
from tests.real_ledger import ledger

pytestmark = pytest.mark.e2e

PATH = identity.ORGANISATIONS.path(HOSPITAL_A.name)
OTHER = identity.ORGANISATIONS.path(HOSPITAL_B.name)
NOBODY = identity.ORGANISATIONS.path("nobody")
LIE = b"a record that was never written"


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def key_of(path: bytes) -> bytes:
    return path.partition(b"/")[2]


def run(coroutine):
    asyncio.run(coroutine)


# Lies about values ------------------------------------------------------------------------------


def in_responses(change: Callable[[dict[str, Any]], None]) -> Lie:
    """Change the answers to queries."""

    def answer(method: str, result: Any) -> Any:
        if method == "abci_query":
            change(result["response"])
        return result

    return Lie(answer=answer)


def asked_for(path: bytes) -> Callable[[str, Any], Any]:
    """Ask the node for another key than the client did."""

    def ask(method: str, params: Any) -> Any:
        return {**params, "data": key_of(path).hex()} if method == "abci_query" else params

    return ask


def operators(tree: StateTree) -> list[dict[str, str]]:
    """A proof of PATH in a tree of the liar's own."""
    return [{"type": op.type, "key": b64(op.key), "data": b64(op.data)} for op in tree.prove(PATH).encode()]


OWN_TREE = StateTree(RULES.newest.stores, 0, [(PATH, LIE)])


def another_value(response: dict[str, Any]) -> None:
    response["value"] = b64(merkle.commit_value(PATH, LIE))


def a_flipped_bit(response: dict[str, Any]) -> None:
    data = bytearray(base64.b64decode(response["proofOps"]["ops"][1]["data"]))
    data[-1] ^= 1
    response["proofOps"]["ops"][1]["data"] = b64(bytes(data))


def a_tree_of_its_own(response: dict[str, Any]) -> None:
    another_value(response)
    response["proofOps"]["ops"] = operators(OWN_TREE)


def an_extra_operator(response: dict[str, Any]) -> None:
    """One with an empty key, which the stock proxy lets pass at any place."""
    extra = Step(b"", 1, 0, merkle.leaf_hash(b"", LIE), ()).encode()
    response["value"] = b64(LIE)
    response["proofOps"]["ops"].insert(0, {"type": extra.type, "key": "", "data": b64(extra.data)})


def nothing_there(response: dict[str, Any]) -> None:
    response["value"] = None


def nothing_and_no_proof(response: dict[str, Any]) -> None:
    response["value"] = response["proofOps"] = None


def under_the_asked_key(response: dict[str, Any]) -> None:
    response["key"] = b64(key_of(PATH))


ABOUT_VALUES = {
    "the truth": Lie(),
    "another value": in_responses(another_value),
    "a changed proof": in_responses(a_flipped_bit),
    "a value and a proof of its own": in_responses(a_tree_of_its_own),
    "an extra operator": in_responses(an_extra_operator),
    "no value, with the value's proof": in_responses(nothing_there),
    "no value and no proof": in_responses(nothing_and_no_proof),
    "no value, with another key's absence": Lie(asked_for(NOBODY), in_responses(under_the_asked_key).answer),
    "another key's value, under its name": Lie(asked_for(OTHER)),
    "another key's value, under the asked name": Lie(asked_for(OTHER), in_responses(under_the_asked_key).answer),
}
# What the stock proxy and our reader say.
VALUE_VERDICTS = dict.fromkeys(ABOUT_VALUES, ("refused", "refused")) | {
    "the truth": ("accepted", "accepted"),
    # Its answer names the other key, so a careful client of the proxy can tell; the proxy does not.
    "another key's value, under its name": ("accepted for the other key", "refused"),
}


async def stock_says(stock: RpcClient, path: bytes, truth: bytes) -> str:
    store, key = merkle.split_path(path)
    try:
        answer = await stock.abci_query(f"/store/{store}/key", key, prove=True)
    except NodeError:
        return "refused"
    if answer.key != key:
        assert answer.key == key_of(OTHER)
        return "accepted for the other key"
    return "accepted" if answer.value == merkle.commit_value(path, truth) else f"deceived: {answer.value!r}"


async def ours_says(middle: Middle, genesis: Any, path: bytes, truth: bytes | None) -> str:
    async with RpcClient([middle.address]) as rpc:
        try:
            found = (await VerifiedReader(rpc, light.trust_genesis(genesis)).read(path)).body
        except light.VerificationFailed:
            return "refused"
    return "accepted" if found == truth else f"deceived: {found!r}"


async def grown(node: comet.Node, height: int) -> tuple[bytes, bytes]:
    """Wait for a height; the first block's hash, and what is truly at PATH."""
    async with RpcClient([node.address]) as rpc:
        await comet.height_of(rpc, height)
        first = (await rpc.commit(1)).header.hash
        truth = (await rpc.abci_query("/store/identity/key", key_of(PATH))).value
        return first, truth[merkle.DIGEST_BYTES :]


def test_both_accept_the_truth_and_refuse_every_lie_about_values(tmp_path):
    async def scenario():
        async with ledger(tmp_path) as (genesis, node), Middle(node.address).listening() as middle:
            first, truth = await grown(node, 4)
            async with stock_proxy(tmp_path / "light", CHAIN_ID, middle, 1, first) as stock:
                verdicts = {}
                for name, middle.lie in ABOUT_VALUES.items():
                    ours = await ours_says(middle, genesis, PATH, truth)
                    verdicts[name] = (await stock_says(stock, PATH, truth), ours)
                assert verdicts == VALUE_VERDICTS

                # True absence: ours proves it, the stock proxy cannot.
                middle.lie = Lie()
                assert await ours_says(middle, genesis, NOBODY, None) == "accepted"
                with pytest.raises(NodeError, match="absence proof"):
                    await stock.abci_query("/store/identity/key", key_of(NOBODY), prove=True)
                async with RpcClient([node.address]) as rpc:
                    answer = await rpc.abci_query("/store/identity/key", key_of(NOBODY), prove=True)
                assert answer.value == b""
                assert [op.type for op in answer.proof_ops] == [ABSENT, merkle.OPERATOR, merkle.OPERATOR]

    run(scenario())


# What the form of committed values is for --------------------------------------------------------

CHOSEN = b"identity/chosen"
WITHOUT_THE_RULE = textwrap.dedent(
    """
    import sys
    from dataclasses import replace
    from abci_app.__main__ import main
    from contracts import transition
    from contracts.kernel import Write, merkle, state_tree

    merkle.commit_value = state_tree.commit_value = lambda path, body: body
    state_tree.value_at = lambda path, path_hash, body: body
    honest = transition.genesis

    def genesis(*arguments):
        outcome = honest(*arguments)
        return replace(outcome, writes=(*outcome.writes, Write({path!r}, {root!r})))

    transition.genesis = genesis
    sys.exit(main())
    """
)


def test_without_the_rule_for_committed_values_a_member_could_make_the_stock_proxy_believe_anything(tmp_path):
    """A ledger that commits bare bodies, in which a member stored the root of a tree of its own.

    One more operator with an empty key leads from any value under that root to the stored one. The table above has the
    same lie on the real ledger, whose committed values are no digests.
    """
    own_tree = Step(b"", 1, 0, merkle.leaf_hash(b"", LIE), ())
    code = WITHOUT_THE_RULE.format(path=CHOSEN, root=own_tree.root_over(LIE))

    async def scenario():
        async with ledger(tmp_path, ("-c", code)) as (genesis, node), Middle(node.address).listening() as middle:
            first, _ = await grown(node, 4)
            async with stock_proxy(tmp_path / "light", CHAIN_ID, middle, 1, first) as stock:
                middle.lie = in_responses(an_extra_operator)
                answer = await stock.abci_query("/store/identity/key", key_of(CHOSEN), prove=True)
                assert (answer.key, answer.value) == (key_of(CHOSEN), LIE), "the stock proxy vouches for the lie"
                assert await ours_says(middle, genesis, CHOSEN, LIE) == "refused"

    run(scenario())


# Lies about headers -----------------------------------------------------------------------------


def other_app_hash(*, rename: bool) -> Lie:
    """The root of the liar's own tree in every header after the second, with proofs that fit.

    ``rename``: the commit names the new header's hash too, so only the signatures contradict it.
    """

    def answer(method: str, result: Any) -> Any:
        if method == "abci_query":
            a_tree_of_its_own(result["response"])
        if method == "commit" and int(result["signed_header"]["header"]["height"]) > 2:
            signed = result["signed_header"]
            signed["header"]["app_hash"] = OWN_TREE.root.hex().upper()
            if rename:
                header = read_signed_header(Answer(signed, "signed_header")).header
                signed["commit"]["block_id"]["hash"] = header.hash.hex().upper()
        return result

    return Lie(answer=answer)


def another_block() -> Lie:
    """The header of one block in place of every later one's."""

    def ask(method: str, params: Any) -> Any:
        later = method == "commit" and params.get("height") and int(params["height"]) > 2
        return {**params, "height": "2"} if later else params

    return Lie(ask)


@pytest.mark.parametrize(
    ("lie", "stock_reason", "our_reason"),
    [
        (other_app_hash(rename=False), "commit signs block", "its commit is for block"),
        (other_app_hash(rename=True), "wrong signature", "0 of 10 voting power signed"),
        (another_block(), "doesn't match height", r"commit\.height"),
    ],
    ids=["another app hash", "another app hash that the commit names", "another block's header"],
)
def test_both_refuse_a_changed_header_also_when_value_and_proof_fit_it(tmp_path, lie, stock_reason, our_reason):
    async def scenario():
        async with ledger(tmp_path) as (genesis, node), Middle(node.address).listening() as middle:
            first, truth = await grown(node, 4)
            async with stock_proxy(tmp_path / "light", CHAIN_ID, middle, 1, first) as stock:
                assert await stock_says(stock, PATH, truth) == "accepted"
                await grown(node, await newest(node) + 2)
                middle.lie = lie
                with pytest.raises(NodeError, match=stock_reason):
                    await stock.abci_query("/store/identity/key", key_of(PATH), prove=True)
                async with RpcClient([middle.address]) as rpc:
                    with pytest.raises((light.VerificationFailed, AnswerMalformed), match=our_reason):
                        await VerifiedReader(rpc, light.trust_genesis(genesis)).read(PATH)

    run(scenario())


async def newest(node: comet.Node) -> int:
    async with RpcClient([node.address]) as rpc:
        return (await rpc.abci_info()).height


# Lies about results -----------------------------------------------------------------------------


def another_code(code: int) -> Lie:
    """Every transaction is said to have ended with this code."""

    def answer(method: str, result: Any) -> Any:
        if method == "block_results":
            for one in result["txs_results"] or []:
                one["code"] = code
        if method == "tx":
            result["tx_result"]["code"] = code
        return result

    return Lie(answer=answer)


def test_a_result_is_believed_only_as_the_next_header_has_it(tmp_path):
    """Submitting through the middle ends in the truth or in a refusal to believe, never in a false receipt."""

    async def scenario():
        async with ledger(tmp_path) as (genesis, node), Middle(node.address).listening() as middle:
            first, _ = await grown(node, 2)
            async with (
                stock_proxy(tmp_path / "light", CHAIN_ID, middle, 1, first) as stock,
                RpcClient([middle.address]) as rpc,
            ):
                reader = VerifiedReader(rpc, light.trust_genesis(genesis))
                client = LedgerClient(rpc, reader, ledger_of(genesis), HOSPITAL_A.human)
                signed = await client.sign(AddKey(HOSPITAL_A.worker.enrolment(ledger_of(genesis).genesis)))
                middle.lie = another_code(identity.KeyExists.code)
                with pytest.raises(light.VerificationFailed, match="do not hash"):
                    await client.send(signed)
                middle.lie = Lie()
                receipt = await client.send(signed)
                assert receipt.event(KeyAdded)
                assert (await stock.block_results(receipt.height))[0].code == 0
                middle.lie = another_code(identity.KeyExists.code)
                with pytest.raises(NodeError, match=r"last results .* does not match"):
                    await stock.block_results(receipt.height)
                with pytest.raises(light.VerificationFailed, match="do not hash"):
                    await reader.results(receipt.height)

    run(scenario())
