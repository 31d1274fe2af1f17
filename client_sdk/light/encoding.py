"""The bytes that CometBFT hashes and signs, written by hand: protobuf as its Go code (gogoproto) lays it out.

Two habits of that code matter, and both are kept here. A field with its zero value is left out. An embedded message
that Go holds by value is written also when it is empty: the part-set header of a block id, and timestamps.

Sources, CometBFT v0.39.4: ``types/block.go`` (Header.Hash), ``types/encoding_helper.go``, ``types/canonical.go``,
``proto/tendermint/types/{types,canonical,validator}.proto``, ``abci/types/types.go``. The same since 0.34.
"""

from typing import Final

from contracts.kernel.varint import uvarint

_SECOND: Final = 10**9
_PRECOMMIT: Final = 2  # SIGNED_MSG_TYPE_PRECOMMIT
_VARINT, _FIXED64, _DELIMITED = 0, 1, 2  # Protobuf's wire types.


def integers(*fields: tuple[int, int]) -> bytes:
    """Varint fields as (number, value) in order; zeros are left out, negatives are 64-bit two's complement."""
    return b"".join(_tag(number, _VARINT) + uvarint(value & (2**64 - 1)) for number, value in fields if value)


def octets(number: int, value: bytes) -> bytes:
    """A field of bytes; nothing when empty."""
    return embedded(number, value) if value else b""


def text(number: int, value: str) -> bytes:
    """A field of text; nothing when empty."""
    return octets(number, value.encode("utf-8"))


def embedded(number: int, message: bytes) -> bytes:
    """A message within a message, also when it is empty."""
    return _tag(number, _DELIMITED) + uvarint(len(message)) + message


def timestamp(time_ns: int) -> bytes:
    """``google.protobuf.Timestamp``: seconds since the epoch, rounded down, and nanoseconds."""
    seconds, nanos = divmod(time_ns, _SECOND)
    return integers((1, seconds), (2, nanos))


def block_id(digest: bytes, parts_total: int, parts_hash: bytes) -> bytes:
    """``BlockID`` and, byte for byte the same, ``CanonicalBlockID``."""
    return octets(1, digest) + embedded(2, integers((1, parts_total)) + octets(2, parts_hash))


def precommit(chain_id: str, height: int, commit_round: int, encoded_block_id: bytes, time_ns: int) -> bytes:
    """The length-delimited ``CanonicalVote`` of a precommit: what a validator signs.

    Height and round are fixed-size here, unlike in a header.
    """
    vote = b"".join(
        (
            integers((1, _PRECOMMIT)),
            _fixed64(2, height),
            _fixed64(3, commit_round),
            embedded(4, encoded_block_id),
            embedded(5, timestamp(time_ns)),
            text(6, chain_id),
        )
    )
    return uvarint(len(vote)) + vote


def validator(public: bytes, power: int) -> bytes:
    """``SimpleValidator`` with an Ed25519 key: a leaf of the hash of a validator set."""
    return embedded(1, octets(1, public)) + integers((2, power))


def tx_result(code: int, data: bytes, gas_wanted: int, gas_used: int) -> bytes:
    """The deterministic fields of an ``ExecTxResult``: a leaf of ``last_results_hash``."""
    return integers((1, code)) + octets(2, data) + integers((5, gas_wanted), (6, gas_used))


def _fixed64(number: int, value: int) -> bytes:
    return _tag(number, _FIXED64) + value.to_bytes(8, "little", signed=True) if value else b""


def _tag(number: int, wire_type: int) -> bytes:
    return bytes((number << 3 | wire_type,))  # Every field number here is below 16.
