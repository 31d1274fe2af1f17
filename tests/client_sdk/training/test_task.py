"""A task as its participants use it: proved terms, opened artefacts, and only versions that may be used."""

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from campaigns.harness import consortium
from campaigns.harness.consortium import LAB, MODEL, TASK
from client_sdk.payloads.errors import PayloadNotFound, PayloadOverLimit
from client_sdk.payloads.store import payload_cid
from client_sdk.secrets.age_identity import recipient_of
from client_sdk.training import artefacts
from client_sdk.training.artefacts import ArtefactRefused
from client_sdk.training.task import VersionUnfit, load_canary, load_version, open_task, recipients
from contracts import lineage, tasks
from contracts.identity import UnknownOrganisation
from contracts.lineage import Version, VersionStatus
from contracts.models import RaiseAlarm
from contracts.tasks import UnknownTask
from learning import fixed
from learning.refusals import Misnamed
from learning.tensors import Int32
from tests import local_task
from tests.local_task import World, identities, prepared, records


@pytest.fixture
def world(tmp_path: Path) -> World:
    return local_task.opened(tmp_path)


def promote(world: World) -> bytes:
    """A whole round; the bytes of its version, which is promoted."""
    number = world.open_round()

    async def course() -> bytes:
        await world.contribute(number)
        consortium.attest_all(world.chain, number)
        made = await world.gatherer(LAB).recompute(number)
        await world.store.put(made.model)
        consortium.vote_all(world.chain, number, made.candidate, correct=made.correct)
        return made.model

    return asyncio.run(course())


def load(world: World, number: int, *, fit_only: bool = True) -> tuple[Version, Int32]:
    return asyncio.run(load_version(world.node.client(), world.store, world.task, number, fit_only=fit_only))


def change(world: World, number: int, **changes: object) -> None:
    """Change a version's record by hand: what a run would take many blocks, or a broken ledger, to reach."""
    before = consortium.version_of(world.chain, number)
    world.chain.given(lineage.VERSIONS.put((MODEL, number), replace(before, **changes)))  # type: ignore[arg-type]


# Versions ---------------------------------------------------------------------------------------


def test_versions_load_from_the_initial_one_to_the_promoted_one(world: World) -> None:
    promote(world)
    promote(world)
    loaded = [load(world, number) for number in range(3)]
    assert [version.round for version, _ in loaded] == [0, 1, 2]
    assert not loaded[0][1].any()
    assert (loaded[1][1] != loaded[2][1]).any()


@pytest.mark.parametrize("status", [VersionStatus.FAILED_CANARY, VersionStatus.QUARANTINED, VersionStatus.ROLLED_BACK])
def test_a_version_that_may_not_be_used_is_refused_by_its_status(world: World, status: VersionStatus) -> None:
    promote(world)
    change(world, 1, status=status)
    with pytest.raises(VersionUnfit, match=f"version 1 of {MODEL} is {status}"):
        load(world, 1)
    assert load(world, 1, fit_only=False)[0].status is status, "who shows a history may look at it"


def test_a_version_that_fell_with_an_ancestor_is_refused_although_its_own_record_says_promoted(world: World) -> None:
    promote(world)
    promote(world)
    for verifier in consortium.VERIFIERS[:5]:
        world.chain.submit(verifier, RaiseAlarm(MODEL, 1, b"\1" * 32, "found"))
    assert consortium.version_of(world.chain, 2).status is VersionStatus.PROMOTED
    for number in (1, 2):
        with pytest.raises(VersionUnfit, match=f"version {number} of {MODEL} is {VersionStatus.QUARANTINED}"):
            load(world, number)


def test_a_version_that_no_round_came_to_is_refused(world: World) -> None:
    with pytest.raises(VersionUnfit, match="no version 7"):
        load(world, 7)


def test_bytes_that_are_not_what_the_ledger_names_are_refused(world: World) -> None:
    model = promote(world)
    artefact = consortium.version_of(world.chain, 1).artefact
    change(world, 1, artefact=replace(artefact, digest=b"\1" * 32))
    with pytest.raises(ArtefactRefused, match="version 1"):
        load(world, 1)
    change(world, 1, artefact=replace(artefact, size=len(model) + 1))
    with pytest.raises(ArtefactRefused, match="version 1"):
        load(world, 1)
    change(world, 1, artefact=replace(artefact, size=len(model) - 1))
    with pytest.raises(PayloadOverLimit):
        load(world, 1)


def test_a_version_of_another_parent_or_round_is_refused_although_its_digest_is_right(world: World) -> None:
    promote(world)
    change(world, 1, round=9)
    with pytest.raises(Misnamed):
        load(world, 1)
    change(world, 1, round=1)
    load(world, 1)
    initial = consortium.version_of(world.chain, 0).artefact
    change(world, 0, artefact=replace(initial, digest=b"\1" * 32))
    with pytest.raises(Misnamed):
        load(world, 1)


def test_a_version_that_no_store_has_is_not_found(world: World) -> None:
    change(world, 0, artefact=replace(prepared().terms.initial, cid=str(payload_cid(b"elsewhere"))))
    with pytest.raises(PayloadNotFound):
        load(world, 0)


# The task ---------------------------------------------------------------------------------------


def test_a_task_opens_with_proved_terms_and_readable_inputs(world: World) -> None:
    task = asyncio.run(open_task(world.node.client(), world.store, TASK))
    assert task == prepared().view
    assert (task.name, task.model, task.digest) == (TASK, MODEL, tasks.terms_digest(prepared().terms))
    assert task.inputs.classes == ("benign", "malignant")


def test_a_task_that_nobody_opened_is_refused_by_name(world: World) -> None:
    with pytest.raises(UnknownTask) as caught:
        asyncio.run(open_task(world.node.client(), world.store, "no-such-task"))
    assert caught.value.facts == {"task": "no-such-task"}


def test_inputs_that_are_not_what_the_members_voted_on_are_refused(world: World) -> None:
    other = replace(prepared().terms, inputs=replace(prepared().terms.inputs, digest=b"\1" * 32))
    world.chain.given(tasks.TERMS.put(TASK, other))
    with pytest.raises(ArtefactRefused, match="inputs"):
        asyncio.run(open_task(world.node.client(), world.store, TASK))


def test_the_recipients_are_those_of_the_terms_in_their_order(world: World) -> None:
    found = asyncio.run(recipients(world.node.client(), world.task, world.open_round()))
    assert found == tuple(recipient_of(identities()[name]) for name in prepared().terms.recipients)


def test_a_recipient_that_is_no_member_is_refused_rather_than_left_out(world: World) -> None:
    task = replace(world.task, terms=replace(prepared().terms, recipients=("lab", "stranger")))
    with pytest.raises(UnknownOrganisation):
        asyncio.run(recipients(world.node.client(), task, world.open_round()))


def test_the_canary_set_is_read_as_it_was_written(world: World) -> None:
    canary = asyncio.run(load_canary(world.store, world.task))
    inputs, targets = records(99)
    assert (canary.targets == targets).all()
    assert np.allclose(canary.inputs, inputs, atol=1e-6)


def test_a_canary_set_of_another_number_of_records_than_the_terms_say_is_refused(world: World) -> None:
    """A score is a number of them: with others nobody could vote."""
    task = replace(world.task, terms=replace(prepared().terms, canary_records=41))
    with pytest.raises(ArtefactRefused, match="40 records, the terms say 41"):
        asyncio.run(load_canary(world.store, task))


def test_a_model_is_read_back_to_the_bit_and_only_under_its_own_manifest(world: World) -> None:
    layout = world.task.inputs.layout
    units = np.array([0, 1, -1, fixed.LIMIT, -fixed.LIMIT], np.int32)[: layout.size]
    manifest = artefacts.model_manifest(TASK, 3, b"\5" * 32, 16)
    raw = artefacts.encode_model(units, manifest, layout)
    assert (artefacts.decode_model(raw, manifest, layout) == units).all()
    with pytest.raises(Misnamed):
        artefacts.decode_model(raw, artefacts.model_manifest(TASK, 3, b"\6" * 32, 16), layout)
