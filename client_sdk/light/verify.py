"""From a state we trust to a header we may trust: CometBFT's light client, without any I/O.

``trust_genesis`` or ``trust_checkpoint`` give the first ``TrustedState``; ``verify_header`` leads from one to a later
one, either to the next height or over any distance; ``verify_previous`` leads one step back.

What it takes for a header to be accepted (CometBFT v0.39.4, ``light/verifier.go`` and ``types/validation.go``): the
right chain and format, a later height and time, not from the future, the commit names the header, the validators
given are those that the header names, and *more than two thirds* of their power signed. In addition, for the next
height the validators are those that the trusted header announced; for a later one, *more than one third* of the power
we trust signed too: then at least one honest validator vouches, as long as the trusting period is not over.

Signatures are checked by the ledger's own rule (``contracts.kernel.crypto``), which accepts less than the ZIP-215
rule that CometBFT uses. Whatever an honest validator signs passes both, and a signature that does not pass is not
counted rather than refused: otherwise one dishonest validator could make commits that nodes accept and we do not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from contracts.kernel import crypto

from .documents import read_genesis
from .errors import CannotVerify, OverlapTooSmall, TrustExpired, VerificationFailed
from .headers import BLOCK_PROTOCOL, Commit, Flag, Header, SignedHeader, ValidatorSet

SECOND_NS: Final = 10**9
# How long a quorum's keys are believed to stay in the right hands after it signed. CometBFT's light proxy takes a
# week, because stake can leave; here validators are organisations that stay answerable, and data owners come monthly.
TRUSTING_PERIOD_NS: Final = 30 * 24 * 3600 * SECOND_NS
CLOCK_DRIFT_NS: Final = 10 * SECOND_NS  # How far ahead of our clock a header's may be; CometBFT's own default.


@dataclass(frozen=True, slots=True)
class TrustedState:
    """A height whose header is verified, or the genesis, which has no header of its own.

    Only this module's functions should make one: holding it means that the checks passed.
    """

    chain_id: str
    height: int
    time_ns: int
    header_hash: bytes  # Empty for the genesis.
    validators: ValidatorSet  # Who signs this height.
    next_validators_hash: bytes  # Who must sign the next.
    header: Header | None

    @property
    def verified_header(self) -> Header:
        """The header. Raises CannotVerify for the genesis, which proves nothing about any value."""
        if self.header is None:
            raise CannotVerify("header", "the genesis has none; verify a block first")
        return self.header


def trust_genesis(document: Mapping[str, object]) -> TrustedState:
    """Start from CometBFT's genesis document, which must come from somebody we trust, never from the node we check.

    Raises strict_json.AnswerMalformed. (An application may replace the validators in InitChain; the ledger's does not,
    and if it did the first header would fail.)
    """
    genesis = read_genesis(document)
    return TrustedState(
        chain_id=genesis.chain_id,
        height=genesis.initial_height - 1,
        time_ns=genesis.time_ns,
        header_hash=b"",
        validators=genesis.validators,
        next_validators_hash=genesis.validators.hash,
        header=None,
    )


def trust_checkpoint(
    chain_id: str, height: int, header_hash: bytes, signed: SignedHeader, validators: ValidatorSet
) -> TrustedState:
    """Start from a height and a block hash that somebody we trust told us; the rest may come from any node.

    Raises VerificationFailed when the header is not that one.
    """
    header = signed.header
    if header.height != height or header.hash != header_hash:
        why = f"the node's block {header.height} is {header.hash.hex()}, trusted is {height}: {header_hash.hex()}"
        raise VerificationFailed("checkpoint", why)
    _check_shape(chain_id, signed, validators)
    _require_two_thirds(validators, _signers(chain_id, signed.commit, validators))
    return _state(header, validators)


def verify_header(
    trusted: TrustedState,
    signed: SignedHeader,
    validators: ValidatorSet,
    *,
    now_ns: int,
    trusting_period_ns: int = TRUSTING_PERIOD_NS,
    clock_drift_ns: int = CLOCK_DRIFT_NS,
) -> TrustedState:
    """Accept a later header, with the validators of its own height. ``now_ns`` is the caller's clock.

    Raises VerificationFailed; TrustExpired; OverlapTooSmall, which means: verify a header between the two first.
    """
    header = signed.header
    if now_ns >= trusted.time_ns + trusting_period_ns:
        age_days = (now_ns - trusted.time_ns) // (24 * 3600 * SECOND_NS)
        raise TrustExpired("trust", f"the state trusted at height {trusted.height} is {age_days} days old")
    _check_shape(trusted.chain_id, signed, validators)
    _check_progress(trusted, header, now_ns + clock_drift_ns)
    if header.height == trusted.height + 1:
        _check_succession(trusted, header)
    signers = _signers(trusted.chain_id, signed.commit, validators)
    _require_two_thirds(validators, signers)
    if header.height != trusted.height + 1:
        _require_overlap(trusted, signers)
    return _state(header, validators)


def verify_previous(trusted: TrustedState, signed: SignedHeader, validators: ValidatorSet) -> TrustedState:
    """Accept the header just before a trusted one, because that one names its hash.

    No signature and no period matter here: a hash does not expire. Raises VerificationFailed.
    """
    newer, header = trusted.verified_header, signed.header
    if header.height != newer.height - 1 or header.hash != newer.last_block_id.hash:
        why = f"block {newer.height} follows {newer.last_block_id.hash.hex()}, given is {header.hash.hex()}"
        raise VerificationFailed(f"header {header.height}", why)
    _check_shape(trusted.chain_id, signed, validators)
    return _state(header, validators)


def _state(header: Header, validators: ValidatorSet) -> TrustedState:
    return TrustedState(
        header.chain_id,
        header.height,
        header.time_ns,
        header.hash,
        validators,
        header.next_validators_hash,
        header,
    )


def _check_shape(chain_id: str, signed: SignedHeader, validators: ValidatorSet) -> None:
    """Header, commit and validators belong together and to this chain."""
    header, commit = signed.header, signed.commit
    what = f"header {header.height}"
    if header.chain_id != chain_id:
        raise VerificationFailed(what, f"it is of the chain {header.chain_id!r}, expected is {chain_id!r}")
    if header.version_block != BLOCK_PROTOCOL:
        raise VerificationFailed(what, f"block format {header.version_block}, expected is {BLOCK_PROTOCOL}")
    if commit.height != header.height:
        raise VerificationFailed(what, f"its commit is for height {commit.height}")
    if commit.block_id.hash != header.hash:
        why = f"its commit is for block {commit.block_id.hash.hex()}, it hashes to {header.hash.hex()}"
        raise VerificationFailed(what, why)
    if header.validators_hash != validators.hash:
        why = f"it names the validators {header.validators_hash.hex()}, given are {validators.hash.hex()}"
        raise VerificationFailed(what, why)


def _check_progress(trusted: TrustedState, header: Header, latest_ns: int) -> None:
    what = f"header {header.height}"
    if header.height <= trusted.height:
        raise VerificationFailed(what, f"it is not after the trusted height {trusted.height}")
    first_block = trusted.header is None and header.height == trusted.height + 1  # It carries the genesis time.
    if header.time_ns < trusted.time_ns or (header.time_ns == trusted.time_ns and not first_block):
        raise VerificationFailed(what, f"its time is not after that of height {trusted.height}")
    if header.time_ns >= latest_ns:
        seconds = (header.time_ns - latest_ns) // SECOND_NS
        raise VerificationFailed(what, f"it is {seconds} s further in the future than a clock may drift")


def _check_succession(trusted: TrustedState, header: Header) -> None:
    what = f"header {header.height}"
    if header.validators_hash != trusted.next_validators_hash:
        announced = trusted.next_validators_hash.hex()
        raise VerificationFailed(what, f"the header before announced the validators {announced}")
    if header.last_block_id.hash != trusted.header_hash:
        raise VerificationFailed(what, f"it does not follow block {trusted.header_hash.hex()}")


def _signers(chain_id: str, commit: Commit, validators: ValidatorSet) -> frozenset[bytes]:
    """The public keys whose precommits for the block hold. Raises VerificationFailed for entries out of place."""
    if len(commit.signatures) != len(validators.members):
        why = f"{len(commit.signatures)} entries for {len(validators.members)} validators"
        raise VerificationFailed(f"commit {commit.height}", why)
    signers = set()
    for index, (entry, validator) in enumerate(zip(commit.signatures, validators.members, strict=True)):
        if entry.flag is not Flag.COMMIT:
            continue
        if entry.address != validator.address:
            why = f"entry {index} is of {entry.address.hex()}, expected is {validator.address.hex()}"
            raise VerificationFailed(f"commit {commit.height}", why)
        if crypto.verify(validator.public, commit.sign_bytes(chain_id, index), entry.signature):
            signers.add(validator.public)
    return frozenset(signers)


def _require_two_thirds(validators: ValidatorSet, signers: frozenset[bytes]) -> None:
    signed = sum(validators.powers[public] for public in signers)
    if 3 * signed <= 2 * validators.power:
        why = f"{signed} of {validators.power} voting power signed, more than two thirds must"
        raise VerificationFailed("commit", why)


def _require_overlap(trusted: TrustedState, signers: frozenset[bytes]) -> None:
    vouching = sum(trusted.validators.powers.get(public, 0) for public in signers)
    if 3 * vouching <= trusted.validators.power:
        why = f"{vouching} of {trusted.validators.power} voting power trusted at {trusted.height} signed"
        raise OverlapTooSmall("commit", f"{why}, more than a third must")
