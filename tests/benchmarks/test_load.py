"""What the load generator sends, and how it reads what comes back. Real nodes are in ``test_point_e2e``."""

import asyncio
import base64
import random
from collections import Counter
from typing import Any

import pytest

from benchmarks.load import contributions, recipients
from benchmarks.load.chain import seconds_of
from benchmarks.load.connections import Connection, read_answer
from benchmarks.load.network import Member
from benchmarks.load.steps import Step, key_value, mark, sign_all
from client_sdk.secrets.keys import new_signing_key
from contracts import transition
from contracts.ballots import AdvanceRound
from contracts.contributions import Commit, Reserve
from contracts.identity import ChangeRecipient
from contracts.kernel import limits
from contracts.kernel.envelope import LedgerId
from contracts.kernel.recipient import fault_of
from contracts.kernel.types import Purpose
from contracts.registry import RULES

LEDGER = LedgerId("bench-test", bytes(32))


def members(count: int) -> list[Member]:
    keys = new_signing_key("human", Purpose.HUMAN), new_signing_key("worker", Purpose.WORKLOAD)
    return [Member(f"org-{number:03}", LEDGER, *keys) for number in range(count)]


def message_of(step: Step) -> Any:
    return transition.message_of(RULES.newest, transition.parse(step.transaction(5)))


def answer_of(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX: y\r\n\r\n%s" % (len(body), body)


ACCEPTED = b'{"jsonrpc":"2.0","id":1,"result":{"code":0,"data":"","log":"","codespace":"fedledger","hash":"AB"}}'
REFUSED = b'{"jsonrpc":"2.0","id":1,"result":{"code":702,"data":"","log":"NOT_RESERVED(dataset=x)","hash":"AB"}}'
SHARE_FULL = b'{"jsonrpc":"2.0","id":1,"result":{"code":100001,"data":"","log":"POOL_SHARE_FULL(x)","hash":"AB"}}'
ERROR = b'{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"Internal error","data":"%s"}}'


def test_an_answer_is_read_for_what_the_load_must_do_next() -> None:
    assert read_answer(ACCEPTED).code == 0
    refused = read_answer(REFUSED)
    assert (refused.code, refused.is_full, refused.error) == (702, False, "NOT_RESERVED(dataset=x)")
    assert read_answer(SHARE_FULL).is_full
    assert read_answer(ERROR % b"mempool is full: number of txs 5000").is_full
    assert read_answer(ERROR % b"tx already exists in cache").code == 0
    assert read_answer(ERROR % b"something else") == (other := read_answer(ERROR % b"something else"))
    assert other.code == -1
    assert not other.is_full
    with pytest.raises(ValueError, match="not an answer"):
        read_answer(b"<html>")


@pytest.mark.parametrize("cut", [1, 20, 60, 100])
def test_an_answer_in_pieces_is_handed_over_once_and_whole(cut) -> None:
    answers = []
    connection = Connection(0, lambda *found: answers.append(found), lambda *_: None)
    step = key_value(50)
    connection._step, whole = step, answer_of(REFUSED)
    connection.data_received(whole[:cut])
    assert answers == []
    connection.data_received(whole[cut:])
    ((_, found, answer),) = answers
    assert (found, answer.code) == (step, 702)


def test_an_answer_without_a_length_is_refused() -> None:
    connection = Connection(0, lambda *_: None, lambda *_: None)
    with pytest.raises(ValueError, match="without a length"):
        connection.data_received(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")


def test_a_request_carries_the_transaction_and_says_its_length() -> None:
    step = key_value(314)
    asyncio.run(sign_all([step], lambda: 7))
    head, _, body = step.request.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert base64.b64decode(step.encoded) == base64.b64decode(body.partition(b'"tx":"')[2].partition(b'"')[0])
    assert step.size == len(base64.b64decode(step.encoded)) == 314


def test_the_kvstore_accepts_what_is_sent_to_it() -> None:
    raws = [key_value(size).transaction(0) for size in (30, 314, 637)]
    assert [len(raw) for raw in raws] == [30, 314, 637]
    assert all(raw.count(b"=") == 1 and not raw.startswith(b"=") and not raw.endswith(b"=") for raw in raws)
    assert len({raw.partition(b"=")[0] for raw in raws}) == 3


def test_a_step_waits_for_all_that_it_needs() -> None:
    first, second, third = Step(bytes), Step(bytes), Step(bytes)
    third.after(first, None, second)
    assert third.needs == 2
    assert first.then == second.then == [third]


def test_every_organisation_changes_its_recipient_as_often_as_the_others_and_never_to_the_same() -> None:
    found = [message_of(step) for step in recipients.changes(members(recipients.MEMBERS), 500)]
    assert all(type(change) is ChangeRecipient for change in found)
    assert len({change.recipient for change in found}) == 500
    assert all(fault_of(change.recipient) is None for change in found)


@pytest.mark.parametrize("seats", [256, 64, 16])
def test_every_order_of_contributions_keeps_to_the_holds_of_each_organisation_and_to_the_phases(seats) -> None:
    """Whatever becomes ready first: prices under way never exceed what the ledger allows, and no phase is too early."""
    signers = members(contributions.MEMBERS)
    tasks = range(min(10, contributions.tasks_of(seats)))
    steps = contributions.contributions(signers, seats, 2, tasks)
    chosen, held, done = random.Random(seats), Counter(), Counter()
    messages, owners = {id(step): message_of(step) for step in steps}, {}
    for start in range(0, len(steps), 2 * seats + 2):
        task = int(messages[id(steps[start])].task[-3:])
        for place, member in enumerate(contributions.seated(task, signers, seats)):
            owners[id(steps[start + place])] = owners[id(steps[start + seats + place])] = member.name
    ready = [step for step in steps if step.needs == 0]
    while ready:
        step = ready.pop(chosen.randrange(len(ready)))
        message = messages[id(step)]
        key = (type(message), message.task, getattr(message, "round", 0))
        done[key] += 1
        if isinstance(message, Reserve):
            held[owners[id(step)]] += 1
            assert held[owners[id(step)]] <= limits.HOLDS_PER_ACCOUNT
        if isinstance(message, Commit):
            assert done[Reserve, message.task, message.round] == seats
            if done[key] == seats:  # The barrier: every price is spent.
                held -= Counter(member.name for member in contributions.seated(int(message.task[-3:]), signers, seats))
        if isinstance(message, AdvanceRound):
            assert done[Commit, message.task, message.round] == seats
        ready += step.reached()
    assert done.total() == len(steps) == 2 * len(tasks) * (2 * seats + 2)


def test_a_mark_sends_nothing_and_is_passed_through_when_all_before_it_is_reached() -> None:
    first, second, third = Step(bytes), Step(bytes), Step(bytes)
    third.after(mark(mark(first), second))
    assert second.reached() == []
    assert first.reached() == [third]
    with pytest.raises(ValueError, match="a mark"):
        mark(first).transaction(1)


def test_block_times_are_read_with_all_their_decimals() -> None:
    assert seconds_of("2026-11-24T14:00:00.25Z") - seconds_of("2026-11-24T13:59:59Z") == 1.25
