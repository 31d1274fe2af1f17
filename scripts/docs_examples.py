"""The worked examples of ``docs/protocol.md``: one envelope byte by byte, one state with its root and a proof.

Everything follows from the seed and the nonce stated in the text, through the code the ledger runs.
"""

import textwrap

from client_sdk.secrets.keys import SigningKey
from contracts import registry
from contracts.contributions import Reserve
from contracts.electorate import MEMBERSHIP, Membership
from contracts.kernel import codec, crypto, envelope
from contracts.kernel.merkle import bucket_of, commit_value, leaf_hash
from contracts.kernel.state_tree import StateTree
from contracts.kernel.types import Purpose

SEED, NONCE = bytes(range(32)), bytes(range(16))
LEDGER, VALID_UNTIL = envelope.LedgerId("fedledger-example", crypto.sha256(b"the genesis")), 100


def envelope_example() -> str:
    """A reservation in its envelope, as annotated bytes."""
    message = Reserve("breast-cancer", 1, "wdbc")
    body = codec.shape_of(Reserve).pack(message, "")
    raw = envelope.seal(
        SigningKey("worker", Purpose.WORKLOAD, SEED),
        LEDGER,
        tag=message.tag,
        body=body,
        nonce=NONCE,
        valid_until=VALID_UNTIL,
    )
    signed = envelope.parse(raw)
    did, content = crypto.did_key(signed.key).encode(), envelope.CONTENT_TYPE.encode()
    protected, payload = len(signed.protected), len(signed.payload)
    parts = [
        (2, "tag 18, array of 4"),
        (2, f"protected: byte string of {protected}"),
        (4, "map of 4; 1 (alg): -8 (EdDSA); 3 (content type):"),
        (2 + len(content), f'text "{envelope.CONTENT_TYPE}"'),
        (1, "4 (key id):"),
        (34, "byte string of 32: the public key"),
        (3, "15 (claims): map of 3; 1 (issuer):"),
        (2 + len(did), f'text "{did.decode()}"'),
        (1, "2 (subject):"),
        (1 + len(LEDGER.chain_id), f'text "{LEDGER.chain_id}", the chain'),
        (5, "-65537 (genesis):"),
        (34, "byte string of 32: the SHA-256 of the genesis"),
        (1, "unprotected: empty map"),
        (2, f"payload: byte string of {payload}"),
        (payload, f'DAG-CBOR of {{"body": {{…}}, "type": "{message.tag}", "nonce": …, "valid_until": {VALID_UNTIL}}}'),
        (2, "signature: byte string of 64"),
        (64, "Ed25519 over the signed structure"),
    ]
    lines, at = [], 0
    for size, meaning in parts:
        lines.append(f"{at:4}  {_wrapped(raw[at : at + size])}  {meaning}")
        at += size
    assert at == len(raw), "the example has parts that are not explained"
    return "\n".join((
        f"The key's seed is `{SEED.hex()}`, the nonce `{NONCE.hex()}`.",
        "",
        "```text",
        *lines,
        "```",
        "",
        f"The whole, {len(raw)} bytes in hexadecimal:",
        "",
        "```text",
        *textwrap.wrap(raw.hex(), 96),
        "```",
        "",
        f"Signed structure, {len(signed.signed)} bytes: `{signed.signed[:12].hex()}…`; its SHA-256, the transaction's",
        f"identity: `{signed.identity.hex()}`.",
    ))  # fmt: skip


def state_example() -> str:
    """A state with one entry: its committed value, its bucket and the roots above it."""
    path, body = MEMBERSHIP.set(Membership(7, 7, 0, 7))
    assert body is not None
    tree = StateTree(registry.RULES.newest.stores)
    empty = tree.root
    tree.apply({path: body})
    entry, bucket, store = tree.prove(path).steps
    key = path.partition(b"/")[2]
    committed = commit_value(path, body)
    aunts = f"{len(entry.aunts)} in the bucket, {len(bucket.aunts)} in the store, {len(store.aunts)} above"
    return "\n".join((
        "| what | value |",
        "| --- | --- |",
        f"| path | `{path.decode()}` |",
        f"| body: DAG-CBOR of a membership of 7 founders | `{body.hex()}` |",
        f"| committed value: SHA-256(path), then the body | `{committed.hex()}` |",
        f"| bucket | {bucket_of(path)} |",
        f"| leaf of `{key.decode()}`, here also the root of its bucket | `{leaf_hash(key, committed).hex()}` |",
        f"| leaf of the bucket in its store | `{bucket.leaf.hex()}` |",
        f"| leaf of `identity` among the stores | `{store.leaf.hex()}` |",
        f"| root, the application hash | `{tree.root.hex()}` |",
        f"| root of the empty state | `{empty.hex()}` |",
        f"| aunts in the proof | {aunts} |",
    ))  # fmt: skip


def _wrapped(raw: bytes, width: int = 16) -> str:
    """Bytes as hexadecimal, cut in the middle when they are many."""
    shown = raw.hex() if len(raw) <= width else f"{raw[: width // 2].hex()}…{raw[-4:].hex()}"
    return f"{shown:{2 * width}}"
