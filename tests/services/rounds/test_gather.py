"""Fetching what was committed: held is what matches the salted digest, and a store's or owner's fault is no verdict."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from campaigns.harness import consortium
from campaigns.harness.chain import Member
from campaigns.harness.consortium import (
    AUDITOR,
    HOSPITAL_A,
    HOSPITAL_B,
    HOSPITALS,
    LAB,
    MODEL,
    STAND_BY,
    TASK,
    VERIFIERS,
    attest_all,
    round_of,
    seat_of,
    version_of,
)
from client_sdk.payloads import confidential
from client_sdk.payloads.cid import Cid
from client_sdk.payloads.errors import PayloadCorrupt, PayloadError, PayloadMalformed, PayloadNotFound, StoreUnavailable
from client_sdk.payloads.store import PayloadStore, payload_cid
from client_sdk.secrets.age_identity import recipient_of
from client_sdk.training import artefacts
from client_sdk.training.task import VersionUnfit
from contracts import lineage
from contracts.ballots import Share
from contracts.kernel import bitmap, crypto
from contracts.lineage import Finding
from contracts.rounds import WrongPhase
from contracts.terms import Phase
from learning.payload import Owner, encode_payload
from services.rounds import recompute
from services.rounds.fetching import Fetching
from services.rounds.gather import Gatherer, PayloadsMissing, Source
from tests import local_task
from tests.local_task import SCALE_BITS, World, identities, records
from tests.services.rounds.memory_payloads import MemoryPayloads

OTHERS = HOSPITALS[1:]


@dataclass
class Scene:
    """A round whose payloads are made by hand."""

    world: World
    store: MemoryPayloads

    def commit(self, member: Member, payload: bytes, **commitment: object) -> Cid:
        """Commit to a payload, and put it where it can be fetched."""
        plain: dict[str, object] = {
            "cid": str(payload_cid(payload)),
            "digest": crypto.sha256(plaintext(member)),
            "size": len(payload),
        }
        self.world.chain.submit(member, consortium.commit(1, **(plain | commitment)))
        self.store.kept[payload_cid(payload)] = payload
        return payload_cid(payload)

    def honest(self, *members: Member) -> None:
        for member in members:
            self.commit(member, sealed(plaintext(member)))

    def agree(self, held: tuple[int, ...] = (0, 1, 2, 3)) -> None:
        attest_all(self.world.chain, 1, held)

    def gatherer(self, member: Member = LAB, store: MemoryPayloads | None = None) -> Gatherer:
        return self.world.gatherer(member, store or self.store)  # type: ignore[arg-type]

    def held(self, gatherer: Gatherer, *, copies: bool = False) -> tuple[int, ...]:
        """The seats whose payloads an organisation holds after it has tried once."""

        async def fetched() -> tuple[int, ...]:
            for seat in await gatherer.committed(1):
                await gatherer.fetch(1, seat, copies=copies)
            return bitmap.numbers(gatherer.held(1))

        return asyncio.run(fetched())


def plaintext(member: Member, salt: str = "5a17" * 16) -> bytes:
    """A hospital's honest update: all agree, each with a spread of its own."""
    task = local_task.prepared().view
    vector = np.full(task.inputs.layout.size, 1000, np.int32)
    vector[HOSPITALS.index(member)] += 100
    owner = Owner(member.name, consortium.DATASET, salt)
    manifest = artefacts.update_manifest(TASK, 1, task.terms.initial.digest, SCALE_BITS, owner)
    return encode_payload(vector, manifest, task.inputs.layout)


def sealed(data: bytes, *readers: Member) -> bytes:
    """Encrypted to organisations; to all recipients of the terms by default."""
    names = [member.name for member in readers] or list(local_task.prepared().terms.recipients)
    return confidential.encrypt(data, [recipient_of(identities()[name]) for name in names])


def flipped(ciphertext: bytes) -> bytes:
    return ciphertext[:-1] + bytes([ciphertext[-1] ^ 1])


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Every hospital may train and commit."""
    world = local_task.opened(tmp_path)
    store = MemoryPayloads({payload_cid(content): content for content in local_task.prepared().data.values()})
    assert isinstance(store, PayloadStore)
    world.open_round()
    for hospital in HOSPITALS:
        world.chain.submit(hospital, consortium.reserve())
    return Scene(world, store)


GOOD = plaintext(HOSPITAL_A)
FAULTS: dict[str, Callable[[Scene], object]] = {
    "longer than committed": lambda scene: scene.commit(HOSPITAL_A, sealed(GOOD), size=100),
    "another plaintext than committed": lambda scene: scene.commit(HOSPITAL_A, sealed(GOOD), digest=b"\1" * 32),
    "another salt than committed": lambda scene: scene.commit(HOSPITAL_A, sealed(plaintext(HOSPITAL_A, "0f" * 32))),
    "another hospital's payload": lambda scene: scene.commit(HOSPITAL_A, sealed(plaintext(HOSPITAL_B))),
    "encrypted to nobody here": lambda scene: scene.commit(HOSPITAL_A, sealed(GOOD, AUDITOR)),
    "not encrypted at all": lambda scene: scene.commit(HOSPITAL_A, GOOD),
    "a changed ciphertext": lambda scene: scene.commit(HOSPITAL_A, flipped(sealed(GOOD))),
    "a CID that is none": lambda scene: scene.commit(HOSPITAL_A, sealed(GOOD), cid=consortium.cid("anything")),
    "no payload of the profile behind the CID": lambda scene: scene.store.planned.update(
        {scene.commit(HOSPITAL_A, sealed(GOOD)): [PayloadMalformed("cid", "links in a circle")] * 9}
    ),
    "committed and never served": lambda scene: scene.store.kept.pop(scene.commit(HOSPITAL_A, sealed(GOOD))),
    "a store that does not answer": lambda scene: scene.store.planned.update(
        {scene.commit(HOSPITAL_A, sealed(GOOD)): [StoreUnavailable("kubo", "it restarts")]}
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_match_the_digest_is_not_held_and_everything_else_is(scene: Scene, fault: str) -> None:
    FAULTS[fault](scene)
    scene.honest(*OTHERS)
    assert scene.held(scene.gatherer()) == (1, 2, 3)


def test_bytes_that_match_are_held_whatever_they_say(scene: Scene) -> None:
    """Whether they are any good is judged by recomputation, over the agreed set."""
    for member in HOSPITALS:
        nonsense = b"nothing of use " + member.name.encode()
        scene.commit(member, sealed(nonsense), digest=crypto.sha256(nonsense))
    gatherer = scene.gatherer()
    assert scene.held(gatherer) == (0, 1, 2, 3)
    assert gatherer.plaintext(1) == b"nothing of use hospital-b"


def test_a_copied_commitment_is_held_and_judged_as_somebody_else_s(scene: Scene) -> None:
    """The same CID, digest and size: what it names is not who committed to it."""
    scene.honest(HOSPITAL_A, *OTHERS[1:])
    made = seat_of(scene.world.chain, HOSPITAL_A).commitment
    assert made is not None
    copied = {"cid": made.cid, "digest": made.digest, "size": made.size}
    scene.world.chain.submit(HOSPITAL_B, consortium.commit(1, **copied))
    scene.agree()
    made_of_it = asyncio.run(scene.gatherer().recompute(1)).candidate
    assert [Finding(byte) for byte in made_of_it.judgements] == [
        Finding.AGGREGATED,
        Finding.MISNAMED,
        Finding.AGGREGATED,
        Finding.AGGREGATED,
    ]


@pytest.mark.parametrize(
    "first",
    [PayloadNotFound("cid", "not yet"), PayloadCorrupt("cid", "a bad disk"), StoreUnavailable("kubo", "it restarts")],
    ids=["not found yet", "corrupt on the way", "no answer"],
)
def test_a_payload_that_comes_with_a_later_attempt_is_held(scene: Scene, first: PayloadError) -> None:
    cid = scene.commit(HOSPITAL_A, sealed(GOOD))
    scene.honest(*OTHERS)
    scene.store.planned[cid] = [first]
    gatherer = scene.gatherer()
    assert scene.held(gatherer) == (1, 2, 3)
    assert scene.held(gatherer) == (0, 1, 2, 3)
    assert scene.held(gatherer) == (0, 1, 2, 3)
    assert scene.store.asked.count(cid) == 2, "what is held is not asked for again"


def test_what_is_held_is_served_under_its_first_address(scene: Scene) -> None:
    """So a participant that serves two of five has served all."""
    scene.honest(*HOSPITALS)
    mine = MemoryPayloads(beside=[scene.store])
    scene.held(scene.gatherer(LAB, mine))
    scene.store.kept.clear()
    elsewhere = MemoryPayloads(beside=[mine])
    assert scene.held(scene.gatherer(STAND_BY, elsewhere)) == (0, 1, 2, 3)


def test_a_store_that_keeps_nothing_does_not_undo_what_is_held(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.honest(*HOSPITALS)

    async def full(_data: bytes) -> Cid:
        raise StoreUnavailable("kubo", "the disk is full")

    monkeypatch.setattr(scene.store, "put", full)
    assert scene.held(scene.gatherer()) == (0, 1, 2, 3)


def test_what_one_cannot_read_is_fetched_from_who_shares_it(scene: Scene) -> None:
    """Encrypted to two of six. They encrypt it anew to all; the committed digest tells that it is the same."""
    scene.commit(HOSPITAL_A, sealed(GOOD, HOSPITAL_B, STAND_BY))
    scene.honest(*OTHERS)
    for member in VERIFIERS:
        held = (0, 1, 2, 3) if member in (HOSPITAL_B, STAND_BY) else (1, 2, 3)
        scene.world.chain.submit(member, consortium.attest(1, held))
    assert round_of(scene.world.chain).phase is Phase.SEALING
    lab = scene.gatherer(LAB)
    assert scene.held(lab, copies=True) == (1, 2, 3)
    lie, copy = sealed(plaintext(HOSPITAL_B)), sealed(GOOD)
    for member, payload in ((HOSPITAL_B, lie), (STAND_BY, copy)):
        asyncio.run(scene.store.put(payload))
        scene.world.chain.submit(member, Share(TASK, 1, HOSPITAL_A.name, str(payload_cid(payload)), len(payload)))
    assert scene.held(lab) == (1, 2, 3)
    assert scene.held(lab, copies=True) == (0, 1, 2, 3)


# Proofs -----------------------------------------------------------------------------------------


def test_nothing_is_fetched_while_somebody_can_still_commit(scene: Scene) -> None:
    scene.honest(*OTHERS)
    with pytest.raises(WrongPhase):
        asyncio.run(scene.gatherer().committed(1))
    assert scene.store.asked == []


def test_a_node_that_claims_the_barrier_does_not_make_anybody_fetch(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.honest(*OTHERS)
    gatherer = scene.gatherer()

    async def lying(_state: Any, _key: Any = ()) -> Any:
        return replace(round_of(scene.world.chain), phase=Phase.ATTESTING, committed=bitmap.of(range(4)))

    monkeypatch.setattr(gatherer.client, "peek", lying)
    with pytest.raises(WrongPhase):
        asyncio.run(gatherer.committed(1))


def test_the_barrier_is_proved_by_a_header_before_anybody_has_written_it(scene: Scene) -> None:
    current = round_of(scene.world.chain)
    scene.world.chain.given(consortium.rounds.ROUNDS.put((TASK, 1), replace(current, needed=3)))
    scene.honest(*OTHERS)
    gatherer = scene.gatherer()
    with pytest.raises(WrongPhase):
        asyncio.run(gatherer.committed(1))
    consortium.let_pass(scene.world.chain)
    scene.world.chain.block()
    assert round_of(scene.world.chain).phase is Phase.COMMITTING
    assert list(asyncio.run(gatherer.committed(1))) == [1, 2, 3]


def test_that_it_is_time_to_attest_is_proved(scene: Scene) -> None:
    scene.honest(*HOSPITALS)
    gatherer, chain = scene.gatherer(), scene.world.chain
    assert not asyncio.run(gatherer.is_time_to_attest(1))
    scene.world.node.let_pass(consortium.PHASE_MS // 2)
    assert asyncio.run(gatherer.is_time_to_attest(1))
    attest_all(chain)
    assert not asyncio.run(gatherer.is_time_to_attest(1))


# What follows -----------------------------------------------------------------------------------


def test_every_verifier_arrives_at_one_digest_over_exactly_the_agreed_set(scene: Scene) -> None:
    scene.honest(*HOSPITALS)
    scene.agree((1, 2, 3))
    found = [asyncio.run(scene.gatherer(member).recompute(1)) for member in (LAB, HOSPITAL_A, HOSPITAL_B)]
    assert len({lineage.candidate_digest(made.candidate) for made in found}) == 1
    assert bitmap.numbers(found[0].candidate.agreed) == (1, 2, 3)
    assert list(found[0].candidate.judgements) == [Finding.AGGREGATED] * 3


def test_the_weights_are_those_of_the_seats(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.honest(*HOSPITALS)
    scene.agree()
    seen: list[int] = []
    original = recompute.answer

    def noting(terms: Any, number: int, agreed: bytes, rows: Any, *others: Any) -> Any:
        seen.extend(rows[seat].weight for seat in bitmap.numbers(agreed))
        return original(terms, number, agreed, rows, *others)

    monkeypatch.setattr(recompute, "answer", noting)
    key = (TASK, 1, HOSPITAL_B.name)
    heavier = replace(seat_of(scene.world.chain, HOSPITAL_B), weight=1100)
    scene.world.chain.given(consortium.contributions.SEATS.put(key, heavier))
    asyncio.run(scene.gatherer().recompute(1))
    assert seen == [1024, 1100, 1024, 1024]


def test_too_few_good_payloads_leave_nothing_to_follow(scene: Scene) -> None:
    for member in OTHERS:
        nonsense = b"nothing of use"
        scene.commit(member, sealed(nonsense), digest=crypto.sha256(nonsense))
    scene.honest(HOSPITAL_A)
    scene.agree()
    found = asyncio.run(scene.gatherer().recompute(1))
    assert found.candidate.artefact is None
    assert found.why_none.startswith("1 usable")
    assert list(found.candidate.judgements) == [Finding.AGGREGATED, *[Finding.MALFORMED] * len(OTHERS)]


def test_a_decided_round_is_recomputed_by_anybody_who_can_read_it(scene: Scene) -> None:
    scene.honest(*HOSPITALS)
    scene.agree()
    made = asyncio.run(scene.gatherer().recompute(1))
    consortium.vote_all(scene.world.chain, 1, made.candidate, correct=made.correct)
    scene.world.open_round()
    found = asyncio.run(scene.gatherer(STAND_BY).verify(1))
    assert found.digest == version_of(scene.world.chain, 1).digest
    assert found.correct == version_of(scene.world.chain, 1).canary_correct


def test_a_round_without_an_agreed_set_is_not_recomputed(scene: Scene) -> None:
    scene.honest(*HOSPITALS)
    with pytest.raises(WrongPhase):
        asyncio.run(scene.gatherer().recompute(1))


@pytest.mark.parametrize("expired", [False, True], ids=["not found", "expired"])
def test_payloads_that_cannot_be_had_are_named_and_said_to_have_expired_if_they_may(
    scene: Scene, expired: bool
) -> None:
    scene.honest(*HOSPITALS)
    scene.agree()
    made = seat_of(scene.world.chain, HOSPITAL_A).commitment
    assert made is not None
    del scene.store.kept[Cid.parse(made.cid)]
    if expired:
        scene.world.node.let_pass(scene.world.task.terms.retention_ms + consortium.PHASE_MS + 1)
    with pytest.raises(PayloadsMissing, match="drop" if expired else "nobody") as caught:
        asyncio.run(scene.gatherer().recompute(1))
    assert (caught.value.organisations, caught.value.expired) == ((HOSPITAL_A.name,), expired)
    assert scene.store.asked.count(Cid.parse(made.cid)) == 3


def test_the_canary_set_is_fetched_once(scene: Scene) -> None:
    scene.honest(*HOSPITALS)
    scene.agree()
    canary = payload_cid(local_task.prepared().data["canary"])

    async def twice() -> None:
        gatherer = scene.gatherer()
        await gatherer.recompute(1)
        await gatherer.recompute(1)

    asyncio.run(twice())
    assert scene.store.asked.count(canary) == 1
    inputs, targets = records(99)
    assert len(inputs) == len(targets) == asyncio.run(scene.gatherer().canary()).inputs.shape[0]


def test_nothing_is_computed_on_a_base_version_that_fell(scene: Scene) -> None:
    scene.honest(*HOSPITALS)
    scene.agree()
    fallen = replace(version_of(scene.world.chain, 0), status=lineage.VersionStatus.QUARANTINED)
    scene.world.chain.given(lineage.VERSIONS.put((MODEL, 0), fallen))
    with pytest.raises(VersionUnfit):
        asyncio.run(scene.gatherer().recompute(1))


# In the background ------------------------------------------------------------------------------


def test_a_source_that_never_answers_keeps_no_other_payload_waiting(scene: Scene) -> None:
    cid = scene.commit(HOSPITAL_A, sealed(GOOD))
    scene.honest(*OTHERS)
    scene.store.silent.add(cid)

    async def course() -> tuple[tuple[int, ...], tuple[int, ...], int]:
        gatherer = scene.gatherer()
        await gatherer.committed(1)
        fetching = Fetching(gatherer)
        for _ in range(50):
            await fetching.go_on(1, range(4), copies=False, beyond=scene.world.chain.height)
            await asyncio.sleep(0)
        first = bitmap.numbers(gatherer.held(1))
        asked = scene.store.asked.count(cid)
        await fetching.close()
        scene.store.silent.clear()
        await fetching.go_on(1, [0], copies=False, beyond=scene.world.chain.height)
        for _ in range(50):
            await asyncio.sleep(0)
        await fetching.close()
        return first, bitmap.numbers(gatherer.held(1)), asked

    first, then, asked = asyncio.run(course())
    assert first == (1, 2, 3)
    assert then == (0, 1, 2, 3)
    assert asked == 1, "a fetch that goes on is not begun again"


@pytest.mark.parametrize("how", ["once", "in the background"])
def test_a_copy_that_nobody_has_holds_up_nobody_who_asks_for_another(scene: Scene, how: str) -> None:
    """It is shared first, by who means harm; the first address is silent, too."""
    scene.store.silent.add(scene.commit(HOSPITAL_A, sealed(GOOD)))
    scene.honest(*OTHERS)
    scene.agree()
    junk, copy = sealed(b"junk"), sealed(GOOD)
    scene.store.silent.add(payload_cid(junk))
    for member, payload in ((HOSPITAL_B, junk), (STAND_BY, copy)):
        scene.world.chain.submit(member, Share(TASK, 1, HOSPITAL_A.name, str(payload_cid(payload)), len(payload)))
    scene.store.kept[payload_cid(copy)] = copy

    async def course() -> bool:
        gatherer = scene.gatherer()
        async with asyncio.timeout(5):
            if how == "once":
                return await gatherer.fetch(1, 0, copies=True)
            fetching = Fetching(gatherer)
            await fetching.go_on(1, [0], copies=True, beyond=scene.world.chain.height)
            await fetching.close()
            return bitmap.has(gatherer.held(1), 0)

    assert asyncio.run(course())


def test_what_is_fetched_for_a_round_before_is_given_up(scene: Scene) -> None:
    cid = scene.commit(HOSPITAL_A, sealed(GOOD))
    scene.honest(*OTHERS)
    scene.store.silent.add(cid)

    async def course() -> list[bool]:
        fetching = Fetching(scene.gatherer())
        before = asyncio.all_tasks()
        await fetching.go_on(1, [0], copies=False, beyond=scene.world.chain.height)
        await asyncio.sleep(0)
        begun = asyncio.all_tasks() - before
        await fetching.go_on(2, [], copies=False, beyond=scene.world.chain.height)
        await asyncio.wait(begun)
        return [task.cancelled() for task in begun]

    assert asyncio.run(course()) == [True]


def test_a_bug_in_fetching_is_heard_of(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.honest(*HOSPITALS)
    gatherer = scene.gatherer()

    async def broken(_number: int, _seat: int, source: Source) -> bool:
        raise ZeroDivisionError(f"asking {source.organisation}")

    monkeypatch.setattr(gatherer, "fetch_from", broken)

    async def course() -> None:
        fetching = Fetching(gatherer)
        for _ in range(3):
            await fetching.go_on(1, [0], copies=False, beyond=scene.world.chain.height)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(course())
