"""The chain under load: validators of the devnet, and the organisations that sign.

A block takes 64 transactions of one organisation (``limits.BLOCK_TXS_PER_ORGANISATION``), and a node lets only so many
wait, so the load comes from many: each workload says from how many.
"""

from dataclasses import dataclass

from benchmarks.load.steps import Step, signed
from client_sdk.payloads.store import StoreKind
from client_sdk.secrets import keys
from contracts.kernel import Message, limits
from contracts.kernel.envelope import LedgerId
from contracts.kernel.types import Purpose, Role
from devnet import foundation
from devnet.layout import Layout
from devnet.manifest import Application, Manifest, Organisation, Timeouts


def manifest(application: Application, validators: int, timeouts: Timeouts, members: int) -> Manifest:
    """A devnet without a payload store of its own kind, whose first organisations run the validators."""
    organisations = tuple(
        Organisation(f"org-{number:03}", tuple(Role), limits.EPSILON_NANO_MAX, is_founder=True)
        for number in range(members)
    )
    operators = tuple(member.name for member in organisations[:validators])
    return Manifest("bench", application, timeouts, StoreKind.LOCAL, 0, operators, organisations)


@dataclass(frozen=True, slots=True)
class Member:
    """An organisation that signs: its name, the ledger and its two keys."""

    name: str
    ledger: LedgerId
    human: keys.SigningKey
    worker: keys.SigningKey

    def step(self, message: Message) -> Step:
        """A step that sends a message, signed with the key that it asks for."""
        key = self.human if message.purpose is Purpose.HUMAN else self.worker
        return signed(key, self.ledger, message)


def members_of(layout: Layout, described: Manifest) -> tuple[Member, ...]:
    """Every organisation of a devnet that was prepared, with its keys."""
    ledger = foundation.ledger_id(layout)
    passphrase = layout.passphrase.read_text(encoding="ascii").strip()
    found = []
    for member in described.organisations:
        ring = keys.open_keyring(keys.keyring_path(layout.member(member.name), member.name), passphrase)
        found.append(Member(member.name, ledger, ring.signing(foundation.HUMAN), ring.signing(foundation.WORKER)))
    return tuple(found)
