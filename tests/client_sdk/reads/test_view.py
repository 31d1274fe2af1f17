"""Rules of the ledger on a proved state: what they ask for is fetched, at one height, and nothing else is believed."""

import asyncio
from dataclasses import replace

import pytest

from campaigns.harness import consortium
from campaigns.harness.consortium import DATASET, HOSPITAL_A, TASK
from client_sdk.light import CannotVerify, VerificationFailed
from client_sdk.reads.budgets import outlook
from client_sdk.reads.queries import Entry, Moment, NotKept
from client_sdk.reads.trusting import TrustingReader
from client_sdk.reads.view import PATHS, RUNS, LedgerView, every
from client_sdk.rpc import NodeUnavailable
from contracts import contributions, identity, privacy_budget, tasks
from contracts.identity import UnknownDataset, UnknownOrganisation
from contracts.kernel import Context, InvariantBroken
from contracts.privacy_budget import BudgetExceeded, Hold
from contracts.tasks import UnknownTask
from tests.client_sdk.small_ledger import AT_ONCE, MISSING, NEW, OLD, OTHER, PATH, reading, run
from tests.local_ledger import LocalNode, LocalReader


def viewed(node: LocalNode, rule, reader=None):
    """What a rule answers on the newest state of a chain in memory."""

    async def ask():
        read_by = reader or LocalReader(node)
        return await LedgerView(read_by, await read_by.newest()).run(rule)

    return asyncio.run(ask())


# On real proofs ---------------------------------------------------------------------------------


def test_everything_a_rule_asks_for_is_proved_at_one_height_and_keeps_its_proof():
    async def scenario():
        async with reading() as (node, reader):
            view = LedgerView(reader, await reader.newest())
            found = await view.run(lambda state: (state.get(PATH), state.get(OTHER), state.get(MISSING)))
            assert found == (NEW, OLD, None)
            assert {entry.height for entry in view.entries.values()} == {view.height} == {4}
            assert all(entry.proof and entry.state.height == 5 for entry in view.entries.values())
            queries = [params for method, params in node.calls if method == "abci_query"]
            assert len(queries) == 3, "paths that do not depend on each other are fetched in one go, each once"
            assert await view.run(lambda state: state.get(PATH)) == NEW
            assert len(queries) == len([1 for method, _ in node.calls if method == "abci_query"])

    run(scenario())


def test_a_state_that_is_gone_meanwhile_is_read_again_from_the_start_at_a_newer_height():
    async def scenario():
        async with reading() as (node, reader):
            node.newest = 3
            view = LedgerView(reader, await reader.newest())
            assert view.height == 2

            def rule(state):
                first = state.get(PATH)
                if first == OLD:
                    node.newest = 5  # Two blocks come between the first read and the second.
                return first, state.get(OTHER) if first is not None else None

            assert await view.run(rule) == (NEW, OLD)
            assert view.height == 4
            assert {entry.height for entry in view.entries.values()} == {4}

    run(scenario())


def test_after_an_answer_the_height_stays_and_what_is_gone_is_an_error():
    async def scenario():
        async with reading() as (node, reader):
            node.newest = 3
            view = LedgerView(reader, await reader.newest())
            assert await view.run(lambda state: state.get(PATH)) == OLD
            node.newest = 5
            with pytest.raises(CannotVerify, match="ask for everything at once"):
                await view.run(lambda state: state.get(OTHER))

    run(scenario())


def test_a_node_that_answers_for_another_height_than_asked_is_refused():
    async def scenario():
        async with reading() as (node, reader):
            view = LedgerView(reader, await reader.newest())
            truth = node.methods["abci_query"]
            node.methods["abci_query"] = lambda params: truth({**params, "height": "5"})
            with pytest.raises(VerificationFailed, match="asked was 4"):
                await view.run(lambda state: state.get(PATH))

    run(scenario())


# With the ledger's own rules ---------------------------------------------------------------------


def test_a_rule_refuses_on_a_proved_state_as_it_refuses_on_the_chain():
    node = LocalNode(consortium.joined())
    for rule, refusal in (
        (lambda view: tasks.require_task(view, "no-such-task"), UnknownTask),
        (lambda view: identity.require_member(view, "nobody"), UnknownOrganisation),
        (lambda view: identity.require_dataset(view, HOSPITAL_A.name, "none"), UnknownDataset),
    ):
        with pytest.raises(refusal):
            viewed(node, rule)
    assert viewed(node, lambda view: tasks.require_terms(view, TASK)) == tasks.TERMS.at(node.chain.view, TASK)


def test_a_whole_handler_predicts_what_the_ledger_decides():
    node = LocalNode(consortium.round_open())
    chain = node.chain
    roles = identity.ORGANISATIONS.at(chain.view, HOSPITAL_A.name).roles
    context = Context(
        chain.ledger.genesis, chain.height + 1, 0, chain.time_ms, HOSPITAL_A.worker.public, HOSPITAL_A.name, roles
    )
    predicted = viewed(node, lambda view: contributions.reserve(view, consortium.reserve(), context))
    (result,) = chain.block((HOSPITAL_A, consortium.reserve()))
    assert predicted.events == result.events


def test_a_quote_is_what_the_rule_of_holds_says():
    node = LocalNode(consortium.joined())
    now = Moment(node.chain.height + 1, node.chain.time_ms)
    ctx = Context(node.chain.chain_id, now.height, 0, now.time_ms, HOSPITAL_A.worker.public, HOSPITAL_A.name, ())

    def held(view):
        return privacy_budget.hold(view, HOSPITAL_A.name, DATASET, Hold(TASK, 1, 0), ctx)

    quote = viewed(node, lambda view: outlook(view, HOSPITAL_A.name, DATASET, TASK, now))
    assert quote.affordable
    assert quote.after == held(node.chain.view).events[0].epsilon
    dataset = identity.DATASETS.at(node.chain.view, (HOSPITAL_A.name, DATASET))
    tight = replace(dataset, promise=replace(dataset.promise, epsilon=quote.price - 1))
    view = node.chain.view
    view.entries[identity.DATASETS.path((HOSPITAL_A.name, DATASET))] = tight.encode()
    refused = viewed(node, lambda state: outlook(state, HOSPITAL_A.name, DATASET, TASK, now))
    assert not refused.affordable
    with pytest.raises(BudgetExceeded):
        held(view)


# What cannot be answered -------------------------------------------------------------------------


def test_a_rule_that_never_has_enough_is_ended():
    node = LocalNode(consortium.joined())
    asked = iter(range(10**6))
    with pytest.raises(CannotVerify, match=f"{RUNS} times"):
        viewed(node, lambda view: view.get(b"identity/keys/%d" % next(asked)))
    with pytest.raises(CannotVerify, match=str(PATHS)):
        viewed(node, lambda view: [view.get(b"identity/keys/%d" % number) for number in range(PATHS + 1)])


def test_a_bug_of_a_rule_is_its_own_and_not_hidden_by_reading():
    node = LocalNode(consortium.joined())

    def rule(view):
        identity.require_member(view, HOSPITAL_A.name)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        viewed(node, rule)


def test_a_read_that_fails_fails_the_whole_and_ends_the_others():
    node = LocalNode(consortium.joined())
    cancelled = []

    class Failing(LocalReader):
        async def read(self, path: bytes, *, at_least: int = 0, at: int = 0) -> Entry:
            if path.endswith(b"down"):
                raise NodeUnavailable(["http://node"], ["it restarts"])
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                cancelled.append(path)
                raise
            raise AssertionError

    with pytest.raises(NodeUnavailable):
        viewed(node, lambda view: (view.get(b"identity/x"), view.get(b"identity/down")), Failing(node))
    assert cancelled == [b"identity/x"]


def test_a_chain_that_outruns_every_read_is_said():
    node = LocalNode(consortium.joined())

    class Outrun(LocalReader):
        async def read(self, path: bytes, *, at_least: int = 0, at: int = 0) -> Entry:
            node.let_pass(1)
            raise NotKept(3, f"height {at} is not kept")

    with pytest.raises(CannotVerify, match="faster than 1 paths"):
        viewed(node, lambda view: view.get(PATH), Outrun(node))


# Attacks -----------------------------------------------------------------------------------------


def test_two_runs_on_one_view_never_mix_two_heights():
    """One run finds the height gone and moves while the other one waits for a path of the height before."""
    node = LocalNode(consortium.joined())
    held, moved = asyncio.Event(), asyncio.Event()

    class Alternating(LocalReader):
        async def read(self, path: bytes, *, at_least: int = 0, at: int = 0) -> Entry:
            if at == first:
                if path == b"identity/slow":
                    held.set()
                    await asyncio.wait([asyncio.ensure_future(moved.wait())], timeout=0.2)
                else:
                    await held.wait()
                    node.let_pass(1)
                    raise NotKept(3, "gone")
            elif path == b"identity/quick":
                moved.set()
            return Entry(path, b"%d" % at, at)

    first = node.chain.height

    async def both():
        reader = Alternating(node)
        view = LedgerView(reader, await reader.newest())
        slow = asyncio.create_task(view.run(lambda state: (state.get(b"identity/slow"), state.get(b"identity/more"))))
        quick = asyncio.create_task(view.run(lambda state: state.get(b"identity/quick")))
        answers = (await slow, await quick)
        return answers, {entry.height for entry in view.entries.values()}

    (slow, quick), heights = asyncio.run(both())
    assert {*slow, quick} == {b"%d" % (first + 1)}
    assert heights == {first + 1}


def test_an_answer_that_would_read_later_is_not_believed():
    node = LocalNode(consortium.joined())
    path = identity.ORGANISATIONS.path(HOSPITAL_A.name)
    lazy = viewed(node, lambda view: (view.get(each) for each in (path,)))
    with pytest.raises(RuntimeError, match="before it returns"):
        list(lazy)

    async def awaited(view):
        return view.get(path)

    with pytest.raises(RuntimeError, match="before it returns"):
        asyncio.run(viewed(node, awaited))


def test_a_refusal_is_an_answer_after_which_the_height_stays():
    node = LocalNode(consortium.joined())

    async def scenario():
        reader = LocalReader(node)
        view = LedgerView(reader, await reader.newest())
        height = view.height
        with pytest.raises(UnknownTask):
            await view.run(lambda state: tasks.require_task(state, "no-such-task"))
        node.let_pass(1)
        with pytest.raises(CannotVerify, match="ask for everything at once"):
            await view.run(lambda state: identity.require_member(state, HOSPITAL_A.name))
        assert view.height == height

    asyncio.run(scenario())


def test_a_rule_that_would_ask_without_end_is_ended_within_one_run():
    node = LocalNode(consortium.joined())
    asked = []

    def endless(view):
        while view.get(b"identity/keys/%d" % len(asked)) is None:
            asked.append(None)

    with pytest.raises(CannotVerify, match=str(PATHS)):
        viewed(node, endless)
    assert len(asked) == PATHS + 1


def test_a_node_without_a_block_is_not_read_at_whichever_height_is_the_newest():
    async def scenario():
        async with reading(patience=AT_ONCE) as (node, proving):
            node.newest = 0
            trusting = TrustingReader(proving._rpc, proving.headers.root)
            with pytest.raises(CannotVerify):
                await trusting.newest()

    run(scenario())


def test_records_that_must_be_there_are_fetched_in_one_go_and_one_that_is_not_is_our_bug():
    runs = []

    def rule(view):
        runs.append(view)
        return every(identity.ORGANISATIONS, view, [member.name for member in consortium.MEMBERS])

    node = LocalNode(consortium.joined())
    assert [member.recipient for member in viewed(node, rule)] == [
        identity.ORGANISATIONS.at(node.chain.view, member.name).recipient for member in consortium.MEMBERS
    ]
    assert len(runs) == 2
    with pytest.raises(InvariantBroken, match="nobody"):
        viewed(node, lambda view: every(identity.ORGANISATIONS, view, [HOSPITAL_A.name, "nobody"]))
