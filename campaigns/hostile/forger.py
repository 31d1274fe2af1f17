"""Makes hostile transactions of every kind, for a ledger of the simulated consortium whose keys the attacker holds.

What is changed under a right signature is changed into something of no declared form; what is well formed asks for
what no state allows; everything else is changed after it was signed, or signed by a key that may not.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Final

from contracts import identity, origin
from contracts.kernel import Message, Place, View, codec, crypto, envelope, limits
from contracts.kernel.envelope import LedgerId
from contracts.kernel.types import Purpose

from ..fuzz import dialects
from ..fuzz.mutator import Mutator
from ..harness.chain import Member, Signer
from ..simulation.hostile import STRANGER
from ..simulation.lifecycle import WORKERS_MAX
from ..simulation.members import CHAIN_ID, EVERYBODY, ROLES_OF
from . import forgery, sayings
from .kinds import Attack, Kind

PATIENCE: Final = 200  # Blocks for which an attack that is not about time stays in time.
_OF_NO_TYPE: Final = (1.5, [[[]]], {"x": {}}, "é\0", -(2**63), 2**63, [None] * 5_000)
_BODIES: Final = ([], 7, None, True, b"body", "body", 1.5, [{}])
_TAGS: Final = ("money/transfer", "", "rounds/", "rounds/open-rounds", "Rounds/Open-Round", "x" * 500, "a/b/c", "é")
_NAMES: Final = ("", "extra", "self", "kind", "__class__", "x" * 1_000)
_SIGNERS: Final = {
    signer.public: signer
    for member in EVERYBODY
    for signer in (
        *(member.key(Purpose.HUMAN, number) for number in range(2)),
        *(member.key(Purpose.WORKLOAD, number) for number in range(WORKERS_MAX + 1)),
    )
}


@dataclass
class Forger:
    """Makes attacks on a ledger at a height. ``decided`` are transactions that blocks have accepted."""

    rng: Random
    view: View
    height: int
    """Of the newest block."""
    patience: int = PATIENCE
    decided: list[bytes] = field(default_factory=list)

    @property
    def ledger(self) -> LedgerId:
        """What signatures here are bound to."""
        return LedgerId(CHAIN_ID, origin.genesis_of(self.view))

    def attack(self, kind: Kind | None = None) -> Attack:
        """An attack, of a kind that can be made now when none is asked for."""
        while True:
            chosen = kind or self.rng.choice(tuple(Kind))
            raw = _MAKERS[chosen](self)
            if raw is not None:
                return Attack(chosen, raw)
            if kind is not None:
                raise LookupError(f"nothing to make {kind.name} of yet")

    # --- material ---

    def _nonce(self) -> bytes:
        return self.rng.randbytes(limits.NONCE_BYTES)

    def _is_live(self, signer: Signer) -> bool:
        key = identity.KEYS.get(self.view, signer.public)
        return key is not None and identity.is_good(key, Place(self.height + 1, 0))

    def _live(self, purpose: Purpose, members: Iterable[Member] = EVERYBODY) -> Signer | None:
        """A live key of a purpose."""
        names = [member.name for member in members]
        found = [one for one in _SIGNERS.values() if one.organisation in names and one.purpose is purpose]
        live = [one for one in found if self._is_live(one)]
        return self.rng.choice(live) if live else None

    def _revoked(self) -> Signer | None:
        found = []
        for signer in _SIGNERS.values():
            key = identity.KEYS.get(self.view, signer.public)
            if key is not None and not identity.is_good(key, Place(self.height + 1, 0)):
                found.append(signer)
        return self.rng.choice(found) if found else None

    def _spoken(self) -> tuple[Signer, Message]:
        """A message as somebody may well send it, with a live key of its purpose."""
        human = self._live(Purpose.HUMAN)
        assert human is not None, "somebody can always act"
        worker = self._live(Purpose.WORKLOAD)
        message = self.rng.choice(sayings.messages(self.rng, human, worker, self.ledger.genesis))
        return (human if message.purpose is Purpose.HUMAN else worker or human), message

    def _content(self, message: Message, valid_until: int | None = None) -> dict[str, Any]:
        until = self.height + self.patience if valid_until is None else valid_until
        body = codec.shape_of(type(message)).pack(message, "")
        return forgery.content(message.tag, body, self._nonce(), until)

    def _sealed(
        self, signer: Signer, message: Message, *, ledger: LedgerId | None = None, valid_until: int | None = None
    ) -> bytes:
        payload = forgery.plain(self._content(message, valid_until))
        return forgery.signed(signer.seed, forgery.header(signer.seed, ledger or self.ledger), payload)

    def _fresh(self) -> tuple[Signer, bytes]:
        """A transaction that might well be accepted."""
        signer, message = self._spoken()
        return signer, self._sealed(signer, message)

    def _base(self) -> bytes:
        """A transaction to be changed: a fresh one, or one that was decided."""
        return self.rng.choice(self.decided) if self.decided and self.rng.random() < 0.3 else self._fresh()[1]

    # --- bytes ---

    def noise(self) -> bytes:
        return self.rng.randbytes(self.rng.randint(8, 300))

    def bit_flip(self) -> bytes:
        raw = bytearray(self._base())
        for place in self.rng.sample(range(8 * len(raw)), self.rng.randint(1, 3)):
            raw[place // 8] ^= 1 << place % 8
        return bytes(raw)

    def truncated(self) -> bytes:
        raw = self._base()
        return raw[: self.rng.randrange(8, len(raw))]

    def extended(self) -> bytes:
        return self._base() + self.rng.randbytes(self.rng.randint(1, 40))

    def mangled(self) -> bytes | None:
        originals = (self._base(), self._base())
        raw = Mutator(originals, bytes_max=limits.TX_BYTES).changed(self.rng, originals[0])
        return None if raw in originals or raw in self.decided or len(raw) < 8 else raw

    def huge_length(self) -> bytes:
        """The head of one of the envelope's byte strings says more than follows."""
        said = envelope.parse(self._base())
        parts = [said.protected, b"", said.payload, said.signature]
        chosen = self.rng.choice((0, 2, 3))
        heads = [envelope._head(2, part)[: -len(part)] if part else b"\xa0" for part in parts]
        heads[chosen] = self.rng.choice(
            (b"\x59\xff\xff", b"\x5a\xff\xff\xff\xff", b"\x5b" + b"\xff" * 8, b"\x5f", b"\x59\x00\x01", b"\x58\x00")
        )
        return b"\xd2\x84" + b"".join(head + part for head, part in zip(heads, parts, strict=True))

    # --- form, under a right signature ---

    def oversize(self) -> bytes:
        signer, message = self._spoken()
        content = self._content(message) | {"body": bytes(limits.TX_BYTES - self.rng.randrange(300))}
        return self._signed(signer, forgery.plain(content))

    def wrong_type(self) -> bytes | None:
        signer, content = self._spelled()
        holder = self.rng.choice((content["body"], content["body"], content))
        names = sorted(name for name in holder if holder is not content or name != "type")
        if not names:
            return None
        holder[self.rng.choice(names)] = self.rng.choice(_OF_NO_TYPE)
        return self._signed(signer, forgery.plain(content))

    def missing_field(self) -> bytes | None:
        signer, content = self._spelled()
        holder = self.rng.choice((content["body"], content["body"], content))
        if not holder:
            return None
        del holder[self.rng.choice(sorted(holder))]
        return self._signed(signer, forgery.plain(content))

    def unknown_field(self) -> bytes:
        signer, content = self._spelled()
        holder = self.rng.choice((content["body"], content["body"], content))
        holder[self.rng.choice(("", "extra", "self", "kind", "__class__", "x" * 1_000))] = self.rng.choice(
            (0, None, b"x", {})
        )
        return self._signed(signer, forgery.plain(content))

    def wrong_body(self) -> bytes:
        signer, content = self._spelled()
        return self._signed(signer, forgery.plain(content | {"body": self.rng.choice(_BODIES)}))

    def deep(self) -> bytes:
        signer, content = self._spelled()
        depth = self.rng.choice((10, 100, 1_000, 5_000, 20_000))
        lead = self.rng.choice((b"\x81", b"\xa1\x60"))
        marker = b"\x6cplease nest!"
        raw = forgery.plain(content | {"body": "please nest!"})
        assert raw.count(marker) == 1
        return self._signed(signer, raw.replace(marker, lead * depth + b"\x00"))

    def not_canonical(self) -> bytes | None:
        signer, content = self._spelled()
        canonical = forgery.plain(content)
        raw = dialects.spelled(self.rng, content)
        return None if raw == canonical else self._signed(signer, raw)

    def wrong_header(self) -> bytes:
        """Another algorithm, another key's name, something unprotected, a header that was left out or added to."""
        signer, message = self._spoken()
        payload, protected = forgery.plain(self._content(message)), forgery.header(signer.seed, self.ledger)
        other = forgery.header(STRANGER.human.seed, self.ledger)
        did, others = crypto.did_key(signer.public).encode(), crypto.did_key(STRANGER.human.public).encode()
        headers = (
            protected.replace(b"\x01\x27", b"\x01\x26", 1),
            protected.replace(did, others),
            protected.replace(signer.public, STRANGER.human.public),
            protected.replace(b"\xa4", b"\xa5", 1) + b"\x18\x2a\x00",
            protected.replace(CHAIN_ID.encode(), b"x" * len(CHAIN_ID)).replace(b"\x02\x74", b"\x02\x73", 1),
            protected[:-1],
            b"\xa0",
            b"",
            protected + other,
        )
        chosen = self.rng.randrange(len(headers) + 2)
        if chosen < len(headers):
            return forgery.signed(signer.seed, headers[chosen], payload)
        signature = crypto.sign(signer.seed, envelope.signed_structure(protected, payload))
        unprotected = self.rng.choice((b"\xa1\x04\x41\x00", b"\xa1\x01\x27", b"\xf6", b"\x80"))
        return forgery.assembled(protected, payload, signature, unprotected)

    def unknown_message(self) -> bytes:
        signer, content = self._spelled()
        return self._signed(signer, forgery.plain(content | {"type": self.rng.choice(_TAGS)}))

    # --- who, when and where ---

    def wrong_chain(self) -> bytes:
        signer, message = self._spoken()
        chain = self.rng.choice(("fedledger-elsewhere", CHAIN_ID + "2", CHAIN_ID.upper(), CHAIN_ID[:-1], "x"))
        here = self.ledger
        others = (replace(here, chain_id=chain), replace(here, genesis=crypto.sha256(chain.encode())))
        other = self.rng.choice(others)
        return self._sealed(signer, message, ledger=other)

    def bad_signature(self) -> bytes:
        signer, raw = self._fresh()
        said = envelope.parse(raw)
        signatures = (
            crypto.sign(STRANGER.human.seed, said.signed),
            crypto.sign(signer.seed, said.payload),
            crypto.sign(signer.seed, crypto.sha256(said.signed)),
            bytes(64),
            said.signature[32:] + said.signature[:32],
            b"\x01" + bytes(63),
            envelope.parse(self._fresh()[1]).signature,
        )
        chosen = self.rng.randrange(len(signatures) + 1)
        if chosen == len(signatures):
            return forgery.malleated(raw)
        return forgery.assembled(said.protected, said.payload, signatures[chosen])

    def other_domain(self) -> bytes:
        signer, raw = self._fresh()
        return forgery.out_of_context(signer.seed, raw)

    def stranger(self) -> bytes:
        _, message = self._spoken()
        return self._sealed(self.rng.choice((STRANGER.human, STRANGER.worker)), message)

    def revoked(self) -> bytes | None:
        signer, (_, message) = self._revoked(), self._spoken()
        return None if signer is None else self._sealed(signer, message)

    def expired(self) -> bytes:
        signer, message = self._spoken()
        return self._sealed(signer, message, valid_until=max(0, self.height - self.rng.choice((0, 1, 5, 10**6))))

    def valid_too_long(self) -> bytes:
        signer, message = self._spoken()
        beyond = self.height + limits.TX_VALIDITY_BLOCKS + self.rng.choice((500, 10_000, 2**40))
        return self._sealed(signer, message, valid_until=self.rng.choice((beyond, 2**62)))

    def replay(self) -> bytes | None:
        return self.rng.choice(self.decided) if self.decided else None

    def replay_signed_again(self) -> bytes | None:
        if not self.decided:
            return None
        raw = self.rng.choice(self.decided)
        signer = _SIGNERS.get(envelope.parse(raw).key)
        return None if signer is None else forgery.signed_again(signer.seed, raw, self.rng.randbytes(16))

    def wrong_purpose(self) -> bytes | None:
        _, message = self._spoken()
        other = Purpose.HUMAN if message.purpose is Purpose.WORKLOAD else Purpose.WORKLOAD
        wrong = self._live(other)
        return None if wrong is None else self._sealed(wrong, message)

    def missing_role(self) -> bytes | None:
        """A message that needs a role, by a live key of its purpose whose organisation has another one."""
        _, message = self._spoken()
        if message.role is None:
            return None
        signer = self._live(message.purpose, [one for one in EVERYBODY if message.role not in ROLES_OF[one]])
        return None if signer is None else self._sealed(signer, message)

    def against_the_rules(self) -> bytes | None:
        """A message that its signer may send, about what is not there or not the signer's."""
        wrong = self.rng.choice(sayings.wrong(self.ledger.genesis))
        signer = self._live(wrong.message.purpose, wrong.members)
        return None if signer is None else self._sealed(signer, wrong.message)

    def _spelled(self) -> tuple[Signer, dict[str, Any]]:
        signer, message = self._spoken()
        return signer, self._content(message)

    def _signed(self, signer: Signer, payload: bytes) -> bytes:
        return forgery.signed(signer.seed, forgery.header(signer.seed, self.ledger), payload)


_MAKERS: Final[dict[Kind, Callable[[Forger], bytes | None]]] = {
    kind: getattr(Forger, kind.name.lower()) for kind in Kind
}
