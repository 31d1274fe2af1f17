"""The synchronous ledger that a training script uses: the same steps, the same refusals, and no thread left behind."""

import asyncio
import concurrent.futures
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from campaigns.harness import consortium
from campaigns.harness.chain import Member, Signer
from campaigns.harness.consortium import (
    DATA_CLASS,
    DATASET,
    DELTA_INVERSE,
    HOSPITAL_A,
    HOSPITALS,
    LIMIT,
    MODEL,
    TASK,
)
from client_sdk.client import NoSigner
from client_sdk.secrets import keys
from client_sdk.session import blocking as ledger_module
from client_sdk.session.blocking import Ledger, connect
from client_sdk.session.profile import ProfileInvalid
from client_sdk.training.task import VersionUnfit
from contracts import lineage, privacy_budget
from contracts.contributions import NotReserved
from contracts.identity import RegisterDataset, UnknownDataset
from contracts.models import UnknownModel
from contracts.privacy_budget import BudgetExceeded
from contracts.tasks import AlreadyJoined, TermsDiffer, UnknownTask
from contracts.terms import price_of
from tests import local_task
from tests.local_task import World
from tests.meanwhile import (
    Job,
    at_work,
    decide,
    hospitals,
    stop_the_clock_at_work,
    until_promoted,
    verifiers,
)

NANO = 10**9
PRICE = privacy_budget.epsilon_of(price_of(consortium.MECHANISM), consortium.PROMISE) / NANO


@dataclass
class Door:
    """Opens ledgers onto the in-memory chain, as profiles and keyrings would."""

    world: World
    meanwhile: list[Job] = field(default_factory=list)  # What others do while a ledger is open.
    opened: int = 0
    closed: int = 0
    trusting: bool = False

    def signer(self, organisation: str, key: str | None) -> Signer | None:
        return (
            None if key is None else {"human": Member(organisation).human, "worker": Member(organisation).worker}[key]
        )

    @asynccontextmanager
    async def open_session(
        self, profile: Any, key: str | None, _passphrase: Path | None = None, *, trust_node: bool = False
    ) -> AsyncIterator[Any]:
        self.opened += 1
        self.trusting = trust_node
        taking_part = self.world.participant(Member(profile.organisation))
        client = self.world.node.client(self.signer(profile.organisation, key))
        try:
            async with at_work(self.world, self.meanwhile) if self.meanwhile else nullcontext():
                yield SimpleNamespace(
                    client=self.world.clock.watched(client, "sign"),
                    store=self.world.store,
                    journal=taking_part.journal,
                    organisation=profile.organisation,
                )
        finally:
            self.closed += 1

    def find_profile(self, target: str, organisation: str) -> Any:
        if target != "here":
            raise ProfileInvalid(f"nothing at {target}")
        return SimpleNamespace(organisation=organisation)


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Door:
    door = Door(local_task.opened(tmp_path))
    stop_the_clock_at_work(door.world, monkeypatch)
    monkeypatch.setattr(ledger_module, "open_session", door.open_session)
    monkeypatch.setattr(ledger_module, "find_profile", door.find_profile)
    return door


@pytest.fixture
def ledger(door: Door) -> Iterator[Ledger]:
    with connect("here", key="hospital-a/worker") as opened:
        yield opened


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "fedledger"]


# The course of a training script ----------------------------------------------------------------


def test_the_course_of_a_training_script(door: Door) -> None:
    """The README's lines, over the real rules."""
    world = door.world
    world.open_round()
    door.meanwhile += [*hospitals(world, members=HOSPITALS[1:]), *verifiers(world)]
    with connect("here", key="hospital-a/worker") as ledger:
        task = ledger.task(TASK)
        quote = ledger.quote(task, dataset=DATASET)
        assert quote.affordable
        for rnd in ledger.rounds(task, dataset=DATASET):
            receipt = rnd.contribute(world.trainer(HOSPITAL_A))
            assert (rnd.number, receipt.height, receipt.charged) == (1, receipt.height, int(PRICE * NANO))
            break
        ledger.run(until_promoted(world))
        tensors = ledger.load(task.model)
    assert {name: values.shape for name, values in tensors.items()} == {"bias": (1,), "weight": (1, 4)}
    assert tensors["weight"].any()


def test_a_reservation_alone_can_be_made_and_repeated(door: Door, ledger: Ledger) -> None:
    door.world.open_round()
    rnd = next(ledger.rounds(ledger.task(TASK), DATASET))
    assert rnd.reserve() is not None
    assert rnd.reserve() is None


def test_a_seat_is_given_back_before_training_starts_and_costs_nothing(door: Door, ledger: Ledger) -> None:
    door.world.open_round()
    task = ledger.task(TASK)
    rnd = next(ledger.rounds(task, DATASET))
    rnd.reserve()
    held = ledger.quote(task, DATASET).spent
    assert rnd.withdraw().events
    assert held > ledger.quote(task, DATASET).spent == 0.0
    with pytest.raises(NotReserved):
        rnd.withdraw()


# Quotes -----------------------------------------------------------------------------------------


def spend(world: World, times: int) -> None:
    spent = privacy_budget.NOTHING
    for _ in range(times):
        spent += price_of(consortium.MECHANISM)
    account = privacy_budget.Account(spent, ())
    world.chain.given(
        privacy_budget.DATASET_ACCOUNTS.put((HOSPITAL_A.name, DATASET), account),
        privacy_budget.ORGANISATION_ACCOUNTS.put(HOSPITAL_A.name, account),
    )


@pytest.mark.parametrize("rounds_before", range(4))
def test_a_quote_says_what_the_next_round_costs_and_agrees_with_the_ledger(
    door: Door, ledger: Ledger, rounds_before: int
) -> None:
    spend(door.world, rounds_before)
    quote = ledger.quote(ledger.task(TASK), DATASET)
    assert quote.price == pytest.approx(PRICE)
    assert quote.limit == LIMIT / NANO
    assert quote.spent < quote.after <= quote.spent + quote.price + 1e-9, "rounds compose, their ε do not add"
    assert quote.affordable is (rounds_before < 3)
    assert ("within" in str(quote)) is quote.affordable

    number = door.world.open_round()
    taking_part = door.world.participant(HOSPITAL_A)
    if quote.affordable:
        assert ledger.run(taking_part.reserve(number)) is not None
    else:
        with pytest.raises(BudgetExceeded):
            ledger.run(taking_part.reserve(number))


def test_a_quote_for_a_second_dataset_counts_the_organisation_s_cap(door: Door, ledger: Ledger) -> None:
    spend(door.world, 3)
    door.world.chain.submit(HOSPITAL_A, RegisterDataset("fresh-name", DATA_CLASS, LIMIT, DELTA_INVERSE))
    quote = ledger.quote(ledger.task(TASK), "fresh-name")
    assert quote.spent == 0.0
    assert not quote.affordable


def test_a_quote_for_an_unknown_dataset_is_refused_by_name(ledger: Ledger) -> None:
    with pytest.raises(UnknownDataset, match="no-such-set"):
        ledger.quote(ledger.task(TASK), "no-such-set")


# Versions ---------------------------------------------------------------------------------------


def test_a_model_loads_by_its_promoted_version_or_a_named_one(door: Door, ledger: Ledger) -> None:
    door.world.open_round()
    assert not ledger.load(MODEL)["weight"].any()
    decide(door.world)
    assert (ledger.load(MODEL)["weight"] == ledger.load(MODEL, version=1)["weight"]).all()
    assert not ledger.load(MODEL, version=0)["weight"].any()
    with pytest.raises(VersionUnfit):
        ledger.load(MODEL, version=2)
    with pytest.raises(UnknownModel):
        ledger.load("no-such-model")


def test_a_quarantined_version_is_never_loaded(door: Door, ledger: Ledger) -> None:
    version = consortium.version_of(door.world.chain, 0)
    door.world.chain.given(lineage.VERSIONS.put((MODEL, 0), replace(version, status=lineage.VersionStatus.QUARANTINED)))
    with pytest.raises(VersionUnfit, match="quarantined"):
        ledger.load(MODEL)


@pytest.mark.train
def test_a_model_loads_into_a_torch_module(ledger: Ledger) -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Linear(4, 1)
    assert ledger.load(MODEL, into=module) is module
    assert not module.weight.detach().numpy().any()


# Consent ----------------------------------------------------------------------------------------


def test_consent_is_a_human_key_s_signature_over_the_digest_of_the_terms(door: Door) -> None:
    door.world.chain.submit(HOSPITAL_A, RegisterDataset("second", DATA_CLASS, LIMIT, DELTA_INVERSE))
    with connect("here", key="hospital-a/human") as ledger:
        task = ledger.task(TASK)
        assert ledger.join(task, "second").events
        with pytest.raises(AlreadyJoined):
            ledger.join(task, "second")
        with pytest.raises(TermsDiffer):
            ledger.join(replace(task, terms=replace(task.terms, max_rounds=1)), DATASET)
        with pytest.raises(UnknownTask):
            ledger.task("no-such-task")


# The thread underneath --------------------------------------------------------------------------


def test_closing_ends_the_session_and_the_thread_and_may_be_repeated(door: Door) -> None:
    before = threads()
    ledger = connect("here", key="hospital-a/worker")
    assert len(threads()) == len(before) + 1
    assert ledger.organisation == HOSPITAL_A.name
    ledger.close()
    ledger.close()
    assert threads() == before
    assert (door.opened, door.closed) == (1, 1)


def test_a_ledger_that_cannot_be_opened_leaves_no_thread(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    before = threads()
    with pytest.raises(ProfileInvalid):
        connect("elsewhere", key="hospital-a/worker")
    with pytest.raises(keys.InvalidKeyName):
        connect("here", key="no-key-at-all")

    @asynccontextmanager
    async def refused(*_: Any, **__: Any) -> AsyncIterator[Any]:
        raise keys.WrongPassphrase("wrong")
        yield

    monkeypatch.setattr(ledger_module, "open_session", refused)
    with pytest.raises(keys.WrongPassphrase):
        connect("here", key="hospital-a/worker")
    assert threads() == before


def test_a_loop_over_rounds_can_be_left_without_a_trace(door: Door, recwarn: pytest.WarningsRecorder) -> None:
    door.world.open_round()
    with connect("here", key="hospital-a/worker") as ledger:
        for _ in ledger.rounds(ledger.task(TASK), DATASET):
            break
    assert not [warning for warning in recwarn if issubclass(warning.category, (ResourceWarning, RuntimeWarning))]


def test_verification_is_only_turned_off_by_name(door: Door) -> None:
    for trusting in (False, True):
        with connect("here", key="hospital-a/worker", trust_node=trusting):
            assert door.trusting is trusting
    with connect("here", key="hospital-a/worker"):
        assert door.trusting is False


def test_a_ledger_without_a_key_reads_and_refuses_to_write(door: Door) -> None:
    ledger = Ledger("here", None, None, HOSPITAL_A.name)
    try:
        assert ledger.task(TASK).name == TASK
        with pytest.raises(NoSigner):
            ledger.submit(consortium.reserve())
    finally:
        ledger.close()


def test_closing_ends_what_another_thread_waits_for(door: Door) -> None:
    ledger = connect("here", key="hospital-a/worker")
    started, ended = threading.Event(), []

    async def for_ever() -> None:
        started.set()
        await asyncio.Event().wait()

    def wait() -> None:
        try:
            ledger.run(for_ever())
        except concurrent.futures.CancelledError:
            ended.append("cancelled")

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    started.wait()
    ledger.close()
    waiting.join()
    assert ended == ["cancelled"]
