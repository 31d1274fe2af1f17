"""Fetching what was committed: whatever a contributor or a store does wrong becomes one verdict, the same for all."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from campaigns.harness import consortium
from campaigns.harness.chain import Member
from campaigns.harness.consortium import HOSPITAL_A, HOSPITAL_B, HOSPITAL_C, HOSPITAL_D, HOSPITALS, LAB, MODEL, TASK
from client_sdk.payloads import confidential
from client_sdk.payloads.cid import Cid
from client_sdk.payloads.errors import PayloadCorrupt, PayloadError, PayloadNotFound, StoreUnavailable
from client_sdk.payloads.store import PayloadStore, payload_cid
from client_sdk.secrets.age_identity import recipient_of
from client_sdk.training import artefacts
from client_sdk.training.task import VersionUnfit
from contracts import lineage, rounds
from contracts.contributions import Commit
from contracts.identity import ReportStolenKey
from contracts.kernel import Place, crypto
from contracts.models import ProposeVersion, RoundNotClosed
from contracts.reputation import Verdict
from contracts.rounds import CloseRound, Round
from learning.payload import encode_payload
from services.rounds import gather
from services.rounds.gather import Gatherer
from services.rounds.observe import observe
from services.rounds.recompute import NothingToPropose
from services.verifier.verifier import Verifier
from tests import local_task
from tests.local_task import SCALE_BITS, World, identities, records


@dataclass
class MemoryPayloads:
    """A payload store in a dictionary, whose ``get`` first raises what was planned."""

    kept: dict[Cid, bytes] = field(default_factory=dict)
    planned: dict[Cid, list[PayloadError]] = field(default_factory=dict)
    asked: list[Cid] = field(default_factory=list)

    async def put(self, data: bytes) -> Cid:
        self.kept[payload_cid(data)] = data
        return payload_cid(data)

    async def get(self, cid: Cid, max_bytes: int) -> bytes:
        self.asked.append(cid)
        if self.planned.get(cid):
            raise self.planned[cid].pop(0)
        if cid not in self.kept:
            raise PayloadNotFound(cid, "nobody has it")
        if len(self.kept[cid]) > max_bytes:
            raise gather.PayloadOverLimit(cid, len(self.kept[cid]), max_bytes)
        return self.kept[cid]

    async def has(self, cid: Cid) -> bool:
        return cid in self.kept

    async def pin(self, cid: Cid) -> None:
        """Everything is pinned."""

    async def unpin(self, cid: Cid) -> None:
        """Everything is pinned."""

    async def delete(self, cid: Cid) -> None:
        self.kept.pop(cid, None)

    async def close(self) -> None:
        """Nothing is open."""

    async def __aenter__(self) -> "MemoryPayloads":
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""


@dataclass
class Scene:
    """A round whose payloads are made by hand."""

    world: World
    store: MemoryPayloads
    number: int

    def publish(self, member: Member, payload: bytes, **commitment: object) -> Cid:
        """Reserve, commit to a payload, keep it, say that it is published."""
        plain: dict[str, object] = {
            "cid": str(payload_cid(payload)),
            "digest": crypto.sha256(plaintext(member, self.number)),
            "size": len(payload),
        }
        message: Commit = consortium.commit(self.number, **(plain | commitment))
        for step in (consortium.reserve(self.number), message, consortium.publish(self.number)):
            self.world.chain.submit(member, step)
        self.store.kept[payload_cid(payload)] = payload
        return payload_cid(payload)

    def honest(self, *members: Member) -> None:
        for member in members:
            self.publish(member, sealed(plaintext(member, self.number)))

    def close(self) -> Round:
        self.world.chain.submit(LAB, CloseRound(TASK, self.number))
        return self.current

    @property
    def current(self) -> Round:
        return rounds.ROUNDS.at(self.world.chain.view, (TASK, self.number))

    def gatherer(self, member: Member = LAB) -> Gatherer:
        return self.world.gatherer(member, self.store)

    def verdict(self, member: Member, *, by: Member = LAB) -> tuple[Verdict, str]:
        """What one organisation's recomputation says about a contribution."""
        made = asyncio.run(self.gatherer(by).recompute(self.number))
        (judged,) = [judged for judged in made.candidate.judgements if judged.organisation == member.name]
        return judged.verdict, judged.reason


def plaintext(member: Member, number: int) -> bytes:
    """A hospital's honest update: all agree, each with a spread of its own."""
    task = local_task.prepared().view
    vector = np.full(task.inputs.layout.size, 1000, np.int32)
    vector[HOSPITALS.index(member)] += 100
    base = task.terms.initial.digest
    return encode_payload(vector, artefacts.update_manifest(TASK, number, base, SCALE_BITS), task.inputs.layout)


def sealed(data: bytes, *readers: Member) -> bytes:
    """Encrypted to organisations; to all recipients of the terms by default."""
    names = [member.name for member in readers] or list(local_task.prepared().terms.recipients)
    return confidential.encrypt(data, [recipient_of(identities()[name]) for name in names])


def flipped(ciphertext: bytes) -> bytes:
    return ciphertext[:-1] + bytes([ciphertext[-1] ^ 1])


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    world = local_task.opened(tmp_path)
    store = MemoryPayloads({payload_cid(content): content for content in local_task.prepared().data.values()})
    assert isinstance(store, PayloadStore)
    return Scene(world, store, world.open_round())


OTHERS = (HOSPITAL_B, HOSPITAL_C, HOSPITAL_D)
GOOD = plaintext(HOSPITAL_A, 1)
FAULTS: dict[str, tuple[Callable[[Scene], object], Verdict, str]] = {
    "shorter than committed": (
        lambda scene: scene.publish(HOSPITAL_A, payload := sealed(GOOD), size=len(payload) + 1),
        Verdict.REFUSED,
        "another size than committed",
    ),
    "longer than committed": (
        lambda scene: scene.publish(HOSPITAL_A, sealed(GOOD), size=100),
        Verdict.REFUSED,
        "not what was committed",
    ),
    "another plaintext than committed": (
        lambda scene: scene.publish(HOSPITAL_A, sealed(GOOD), digest=b"\1" * 32),
        Verdict.REFUSED,
        "another digest than committed",
    ),
    "another hospital's payload": (
        lambda scene: scene.publish(HOSPITAL_A, sealed(plaintext(HOSPITAL_B, 1))),
        Verdict.REFUSED,
        "another digest than committed",
    ),
    "encrypted to nobody here": (
        lambda scene: scene.publish(HOSPITAL_A, sealed(GOOD, consortium.AUDITOR)),
        Verdict.REFUSED,
        "not encrypted to the recipients",
    ),
    "not encrypted at all": (lambda scene: scene.publish(HOSPITAL_A, GOOD), Verdict.REFUSED, "not a payload"),
    "a changed ciphertext": (
        lambda scene: scene.publish(HOSPITAL_A, flipped(sealed(GOOD))),
        Verdict.REFUSED,
        "not a payload",
    ),
    "more inside than was agreed": (
        lambda scene: scene.publish(HOSPITAL_A, sealed(GOOD + bytes(5_000)), digest=crypto.sha256(GOOD + bytes(5_000))),
        Verdict.REFUSED,
        "not a payload",
    ),
    "a CID that is none": (
        lambda scene: scene.publish(HOSPITAL_A, sealed(GOOD), cid=consortium.cid("anything")),
        Verdict.REFUSED,
        "not what was committed",
    ),
    "no payload of the profile behind the CID": (
        lambda scene: scene.store.planned.update(
            {scene.publish(HOSPITAL_A, sealed(GOOD)): [gather.PayloadMalformed("cid", "links in a circle")] * 9}
        ),
        Verdict.REFUSED,
        "not what was committed",
    ),
    "committed and never served": (
        lambda scene: scene.store.kept.pop(scene.publish(HOSPITAL_A, sealed(GOOD))),
        Verdict.MISSING,
        "not to be found",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_contribution_gets_its_verdict_and_the_others_their_version(scene: Scene, fault: str) -> None:
    misbehave, verdict, reason = FAULTS[fault]
    misbehave(scene)
    scene.honest(*OTHERS)
    scene.close()
    assert scene.verdict(HOSPITAL_A) == (verdict, reason)
    assert scene.verdict(HOSPITAL_B)[0] is Verdict.ACCEPTED


@pytest.mark.parametrize("fault", FAULTS)
def test_proposer_and_verifier_arrive_at_one_digest_whatever_is_wrong(scene: Scene, fault: str) -> None:
    FAULTS[fault][0](scene)
    scene.honest(*OTHERS)
    scene.close()
    digests = set()
    for member in (LAB, HOSPITAL_B, HOSPITAL_C):
        made = asyncio.run(scene.gatherer(member).recompute(scene.number))
        digests.add(lineage.candidate_digest(made.candidate))
    assert len(digests) == 1


def test_honest_contributions_are_fetched_decrypted_and_aggregated(scene: Scene) -> None:
    scene.honest(*HOSPITALS)
    scene.close()
    for member in HOSPITALS:
        assert scene.verdict(member) == (Verdict.ACCEPTED, "aggregated")


@pytest.mark.parametrize(
    "first",
    [PayloadNotFound("cid", "not yet"), PayloadCorrupt("cid", "a bad disk")],
    ids=["not found yet", "corrupt on the way"],
)
def test_a_payload_that_comes_with_the_second_attempt_is_accepted(scene: Scene, first: PayloadError) -> None:
    cid = scene.publish(HOSPITAL_A, sealed(GOOD))
    scene.honest(*OTHERS)
    scene.close()
    scene.store.planned[cid] = [first]
    assert scene.verdict(HOSPITAL_A) == (Verdict.ACCEPTED, "aggregated")
    assert scene.store.asked.count(cid) == 2


def test_a_payload_is_not_asked_for_more_often_than_agreed(scene: Scene) -> None:
    cid = scene.publish(HOSPITAL_A, sealed(GOOD))
    scene.honest(*OTHERS)
    scene.close()
    scene.store.planned[cid] = [PayloadNotFound(cid, "not yet")] * 9
    assert scene.verdict(HOSPITAL_A) == (Verdict.MISSING, "not to be found")
    assert scene.store.asked.count(cid) == 3


def test_a_store_that_does_not_answer_is_no_verdict_about_a_contributor(scene: Scene) -> None:
    cid = scene.publish(HOSPITAL_A, sealed(GOOD))
    scene.honest(*OTHERS)
    scene.close()
    scene.store.planned[cid] = [StoreUnavailable("kubo", "it is restarting")]
    with pytest.raises(StoreUnavailable):
        scene.verdict(HOSPITAL_A)
    assert scene.verdict(HOSPITAL_A) == (Verdict.ACCEPTED, "aggregated")


def test_what_a_stolen_key_signed_is_withdrawn_without_being_fetched(scene: Scene) -> None:
    cid = scene.publish(HOSPITAL_A, sealed(GOOD))
    scene.honest(*OTHERS)
    scene.close()
    scene.world.chain.submit(HOSPITAL_A, ReportStolenKey(HOSPITAL_A.worker.public, Place(0, 0)))
    assert scene.verdict(HOSPITAL_A) == (Verdict.WITHDRAWN, "signed with a stolen key")
    assert cid not in scene.store.asked


def test_what_was_signed_before_a_key_was_stolen_still_counts(scene: Scene) -> None:
    scene.honest(HOSPITAL_A)
    since = scene.world.chain.height + 1
    scene.honest(*OTHERS)
    scene.close()
    scene.world.chain.submit(HOSPITAL_A, ReportStolenKey(HOSPITAL_A.worker.public, Place(since, 0)))
    assert scene.verdict(HOSPITAL_A) == (Verdict.ACCEPTED, "aggregated")


def test_who_did_not_publish_is_not_fetched(scene: Scene) -> None:
    scene.honest(*OTHERS)
    reserved = consortium.commit(scene.number, cid=str(payload_cid(GOOD)), size=len(GOOD))
    for step in (consortium.reserve(scene.number), reserved):
        scene.world.chain.submit(HOSPITAL_A, step)
    scene.world.node.let_pass(40_000)
    scene.close()
    asyncio.run(scene.gatherer().recompute(scene.number))
    assert payload_cid(GOOD) not in scene.store.asked


def test_too_few_good_payloads_leave_nothing_to_propose(scene: Scene) -> None:
    for member in OTHERS:
        scene.publish(member, b"nothing of use")
    scene.honest(HOSPITAL_A)
    scene.close()
    with pytest.raises(NothingToPropose):
        asyncio.run(scene.gatherer().recompute(scene.number))


def test_the_canary_set_is_fetched_once(scene: Scene) -> None:
    scene.honest(*HOSPITALS)
    scene.close()
    canary = payload_cid(local_task.prepared().data["canary"])

    async def twice() -> None:
        gatherer = scene.gatherer()
        await gatherer.recompute(scene.number)
        await gatherer.recompute(scene.number)

    asyncio.run(twice())
    assert scene.store.asked.count(canary) == 1
    inputs, targets = records(99)
    assert len(inputs) == len(targets) == asyncio.run(scene.gatherer().canary()).inputs.shape[0]


def test_nothing_is_computed_on_a_base_version_that_fell(scene: Scene) -> None:
    scene.honest(*HOSPITALS)
    scene.close()
    version = lineage.VERSIONS.at(scene.world.chain.view, (MODEL, 0))
    fallen = replace(version, status=lineage.VersionStatus.QUARANTINED)
    scene.world.chain.given(lineage.VERSIONS.put((MODEL, 0), fallen))
    with pytest.raises(VersionUnfit):
        asyncio.run(scene.gatherer().recompute(scene.number))


def test_nothing_is_computed_from_a_state_in_which_the_round_was_still_open(scene: Scene) -> None:
    """As a node shows it that holds back: with the seats that had published by then, honest proposals look false."""
    scene.honest(*OTHERS)
    with pytest.raises(RoundNotClosed):
        asyncio.run(scene.gatherer().recompute(scene.number))


def test_a_proposal_is_verified_for_the_round_that_is_proved_to_be_its_own(scene: Scene) -> None:
    scene.honest(*HOSPITALS)
    scene.close()
    made = asyncio.run(scene.gatherer().recompute(scene.number))
    scene.world.chain.submit(LAB, ProposeVersion(made.candidate))
    verifier = scene.gatherer(HOSPITAL_A)
    told = asyncio.run(observe(verifier.client, scene.world.task, HOSPITAL_A.name))
    lie = replace(told, task=replace(told.task, rounds=scene.number + 1))
    asyncio.run(Verifier(verifier, HOSPITAL_A.name).vote(1, lie))
    (ballot,) = lineage.VERSIONS.at(scene.world.chain.view, (MODEL, 1)).ballots
    assert ballot.digest == lineage.candidate_digest(made.candidate)
