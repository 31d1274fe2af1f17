"""What can go wrong with a payload, and who is to blame.

A caller that holds a commitment against its signer needs to know whose fault a failure is, so the types say
it: ``PayloadCorrupt`` blames the store or the wire (another copy may be good), ``PayloadMalformed`` blames
the publisher (the bytes have the right hash, everyone who fetches them sees the same), ``PayloadNotFound``
and ``StoreUnavailable`` blame nobody yet. Every error carries a ``hint``: what to do next, in one sentence.
"""

from ..errors import Kind, SdkError


class PayloadError(SdkError):
    """Root of every refusal and failure of this package."""

    kind = Kind.REFUSED
    hint = "Run 'fedledger doctor' to see the state of the payload store."


class InvalidCid(PayloadError, ValueError):
    """Text or bytes that are not a CIDv1 of this profile: sha2-256, raw or dag-pb, canonical base32."""

    kind = Kind.USAGE
    hint = "A payload's CID begins with 'baf' and has 59 characters; copy it whole."

    def __init__(self, given: str, why: str) -> None:
        super().__init__(f"not a payload CID ({why}): {given[:80]!r}")
        self.why = why


class StoreAddressInvalid(PayloadError, ValueError):
    """An address that is not that of a Kubo daemon's RPC."""

    kind = Kind.USAGE
    hint = "Write it as http://HOST:PORT: a profile has it under [store], the daemon under Addresses.API."

    def __init__(self, given: str) -> None:
        super().__init__(f"{given!r} is not the address of a Kubo RPC")


class PayloadNotFound(PayloadError):
    """Nobody asked holds the payload, or not all of its blocks."""

    hint = "Its publisher may be offline or has not published yet: try again before the publish deadline."

    def __init__(self, cid: object, why: str) -> None:
        super().__init__(f"payload {cid} not found: {why}")
        self.cid = cid
        self.why = why


class PayloadCorrupt(PayloadError):
    """Bytes arrived that are not what the CID names: the store or the wire is at fault."""

    hint = "Fetch it from another store; if it is your own disk, check the disk and delete the payload here."

    def __init__(self, cid: object, why: str) -> None:
        super().__init__(f"payload {cid} is corrupt: {why}")
        self.cid = cid
        self.why = why


class PayloadMalformed(PayloadCorrupt):
    """The blocks have the right hashes but are no payload of this profile: the publisher is at fault."""

    hint = "Fetching again will not help: whoever published it did not follow the profile unixfs-v1-2025."


class PayloadOverLimit(PayloadError):
    """The payload is larger than the caller allows. Nothing below its root was read."""

    hint = "The commitment declares the size; a payload above it must be refused, not fetched with a higher bound."

    def __init__(self, cid: object, size: int | None, max_bytes: int) -> None:
        claimed = "more" if size is None else f"{size} bytes"
        super().__init__(f"payload {cid} has {claimed}, at most {max_bytes} bytes are allowed")
        self.cid = cid
        self.size = size
        self.max_bytes = max_bytes


class StoreUnavailable(PayloadError):
    """The store did not do its part: no connection, no answer in time, a full disk, the wrong daemon."""

    kind = Kind.ACCESS
    hint = "Check that the store runs: 'fedledger devnet status', or the daemon's own log."

    def __init__(self, store: str, why: str, *, hint: str | None = None) -> None:
        super().__init__(f"payload store {store}: {why}", hint=hint)
        self.store = store
        self.why = why
