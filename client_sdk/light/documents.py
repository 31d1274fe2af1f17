"""CometBFT's JSON for what a light client judges: headers, commits, validators, the genesis.

Reading is strict and raises AnswerMalformed. The same shapes stand in RPC answers, in the genesis file and in recorded
test data. Shapes: CometBFT v0.39.4, ``types/{block,validator,genesis}.go`` and ``rpc/core/types``. Fields that are not
used here are not looked at.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from contracts.kernel.crypto import PUBLIC_KEY_BYTES, SIGNATURE_BYTES
from contracts.kernel.merkle import DIGEST_BYTES

from ..documents.strict_json import INT32_MAX, INT64_MAX, UINT32_MAX, Answer, AnswerMalformed
from .errors import VerificationFailed
from .headers import (
    ADDRESS_BYTES,
    VALIDATORS_MAX,
    BlockId,
    Commit,
    CommitSignature,
    Flag,
    Genesis,
    Header,
    SignedHeader,
    Validator,
    ValidatorSet,
)

HASH: Final = (0, DIGEST_BYTES)
DIGEST: Final = (DIGEST_BYTES,)
APP_HASH: Final = range(DIGEST_BYTES + 1)  # CometBFT allows any length; its own kvstore has 8 bytes, the ledger 32.
ADDRESS: Final = (ADDRESS_BYTES,)
CHAIN_ID_CHARS: Final = 50
NAME_CHARS: Final = 256
_ED25519: Final = "tendermint/PubKeyEd25519"


@dataclass(frozen=True, slots=True)
class ValidatorsPage:
    """Some of the validators of a height, and how many there are."""

    height: int
    members: tuple[Validator, ...]
    total: int


def read_signed_header(answer: Answer) -> SignedHeader:
    """A header with its commit."""
    return SignedHeader(read_header(answer["header"]), _commit(answer["commit"]))


def read_header(answer: Answer) -> Header:
    """A header, wherever it stands."""
    version = answer["version"]
    app = version.get("app")  # Go leaves it out when it is 0.
    return Header(
        version_block=version["block"].integer(0, INT64_MAX),
        version_app=0 if app is None else app.integer(0, INT64_MAX),
        chain_id=answer["chain_id"].text(CHAIN_ID_CHARS),
        height=answer["height"].integer(1, INT64_MAX),
        time_ns=answer["time"].time_ns(),
        last_block_id=_block_id(answer["last_block_id"]),
        last_commit_hash=answer["last_commit_hash"].hexadecimal(HASH),
        data_hash=answer["data_hash"].hexadecimal(HASH),
        validators_hash=answer["validators_hash"].hexadecimal(DIGEST),
        next_validators_hash=answer["next_validators_hash"].hexadecimal(DIGEST),
        consensus_hash=answer["consensus_hash"].hexadecimal(HASH),
        app_hash=answer["app_hash"].hexadecimal(APP_HASH),
        last_results_hash=answer["last_results_hash"].hexadecimal(HASH),
        evidence_hash=answer["evidence_hash"].hexadecimal(HASH),
        proposer_address=answer["proposer_address"].hexadecimal(ADDRESS),
    )


def read_validators_page(answer: Answer) -> ValidatorsPage:
    """One page of the validators of a height, in the order of the set."""
    members = tuple(_validator(item, "voting_power") for item in answer["validators"].items(VALIDATORS_MAX))
    return ValidatorsPage(
        answer["block_height"].integer(1, INT64_MAX), members, answer["total"].integer(0, VALIDATORS_MAX)
    )


def read_genesis(document: Mapping[str, object]) -> Genesis:
    """The part of a genesis document that trust begins with."""
    answer = Answer(document, "genesis")
    members = [_validator(item, "power") for item in answer["validators"].items(VALIDATORS_MAX)]
    initial = answer.get("initial_height")
    try:
        validators = ValidatorSet.ordered(members)
    except VerificationFailed as error:
        raise AnswerMalformed("genesis.validators", error.why) from error
    return Genesis(
        chain_id=answer["chain_id"].text(CHAIN_ID_CHARS),
        time_ns=answer["genesis_time"].time_ns(),
        initial_height=1 if initial is None else max(1, initial.integer(0, INT64_MAX)),
        validators=validators,
    )


def _block_id(answer: Answer) -> BlockId:
    parts = answer["parts"]
    return BlockId(
        answer["hash"].hexadecimal(HASH), parts["total"].integer(0, UINT32_MAX), parts["hash"].hexadecimal(HASH)
    )


def _commit(answer: Answer) -> Commit:
    return Commit(
        height=answer["height"].integer(1, INT64_MAX),
        round=answer["round"].integer(0, INT32_MAX),
        block_id=_block_id(answer["block_id"]),
        signatures=tuple(_commit_signature(item) for item in answer["signatures"].items(VALIDATORS_MAX)),
    )


def _commit_signature(answer: Answer) -> CommitSignature:
    flag = Flag(answer["block_id_flag"].integer(min(Flag), max(Flag)))
    if flag is Flag.ABSENT:  # Go writes the year 1 and null; nothing of it is used.
        return CommitSignature(flag, b"", 0, b"")
    return CommitSignature(
        flag=flag,
        address=answer["validator_address"].hexadecimal(ADDRESS),
        time_ns=answer["timestamp"].time_ns(),
        signature=answer["signature"].base64(SIGNATURE_BYTES),
    )


def _validator(answer: Answer, power: str) -> Validator:
    key = answer["pub_key"]
    if key["type"].text(NAME_CHARS) != _ED25519:
        raise AnswerMalformed("validator.pub_key.type", f"expected is {_ED25519}")
    validator = Validator(key["value"].base64(PUBLIC_KEY_BYTES), answer[power].integer(1, INT64_MAX))
    address = answer.get("address")  # A genesis file may leave it out.
    if address is not None and address.hexadecimal((0, ADDRESS_BYTES)) not in (b"", validator.address):
        raise AnswerMalformed("validator.address", "it is not that of the public key")
    return validator
