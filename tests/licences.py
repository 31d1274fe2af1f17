"""Rules of version 2, which exist in tests only: they follow the registry's by everything that an upgrade may bring.

A new contract with a store of its own, ``licences``: a new message, event, refusal and record. A changed record: a
dataset gets an optional field. A migration, which writes into both. Other bounds of a block. ``in_the_code`` puts the
changed record where an edit of the contract's source would.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import patch

from contracts import identity
from contracts.kernel import Context, Contract, Event, Lane, Map, Message, Outcome, Record, Rejected, Write, require
from contracts.kernel.codec import since
from contracts.kernel.state import ScanView, View
from contracts.kernel.types import DatasetId, Label, OrgId, Purpose
from contracts.registry import CONTRACTS, RULES
from contracts.rulebook import Limits, Rulebook

UNSTATED = "unstated"
PREFIX = b"identity/datasets/"


class LicensedDataset(identity.Dataset):
    """A dataset as version 2 has it. Where nobody stated a licence it has the bytes of version 1."""

    licence: Label = since(2, default="")


class Licence(Record):
    """Under which licence a dataset is trained on."""

    licence: Label


LICENCES = Map("licences/granted", Licence, "organisation", "dataset")


class Grant(Message, purpose=Purpose.HUMAN, lane=Lane.GOVERNANCE):
    """State the licence of a dataset. ``note`` came with version 3."""

    dataset: DatasetId
    licence: Label
    note: Label = since(3, default="")


class Granted(Event):
    """A licence was stated."""

    organisation: OrgId
    dataset: DatasetId


class SameLicence(Rejected, code=9001, hint="Nothing to do."):
    """The dataset has this licence already."""


def grant(view: View, msg: Grant, ctx: Context) -> Outcome:
    """State a licence. Rejects: UnknownDataset, SameLicence."""
    key = (ctx.organisation, msg.dataset)
    dataset = identity.require_dataset(view, *key)
    assert isinstance(dataset, LicensedDataset)
    require(dataset.licence != msg.licence, lambda: SameLicence(dataset=msg.dataset))
    writes = (
        identity.DATASETS.put(key, replace(dataset, licence=msg.licence)),
        LICENCES.put(key, Licence(msg.licence)),
    )
    return Outcome(writes, (Granted(*key),))


def licensed(view: ScanView) -> Iterator[Write]:
    """Every dataset is licensed from now on, however old it is."""
    for path, body in view.scan(PREFIX, limit=100_000):
        dataset = identity.DATASETS.read(body)
        assert isinstance(dataset, LicensedDataset)
        yield Write(path, replace(dataset, licence=UNSTATED).encode())
        yield LICENCES.put(identity.DATASETS.key_of(path), Licence(UNSTATED))


CONTRACT = Contract(name="licences", number=90, state=(LICENCES,), handlers={Grant: grant}, modules=(__name__,))
VERSION_2 = RULES.of(1).then(
    2, (*CONTRACTS, CONTRACT), migrations=(licensed,), bounds=Limits(block_txs_per_organisation=3)
)
BOOK = Rulebook(RULES.of(1), VERSION_2)


@contextmanager
def in_the_code() -> Iterator[None]:
    """For a while the source of ``identity`` has the changed record, as that of a program that knows version 2 has."""
    with (
        patch.object(identity, "Dataset", LicensedDataset),
        patch.object(identity.DATASETS, "record", LicensedDataset),
        patch.object(identity.DATASETS, "_remembered", {}),
    ):
        yield
