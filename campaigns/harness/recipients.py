"""Age recipients that follow from a word, and the encoder that the ledger itself has no use for."""

from contracts.kernel import crypto
from contracts.kernel.recipient import ALPHABET, expanded, polymod


def recipient_of(word: str) -> str:
    """A recipient of its own for every word. Nobody can read what is encrypted to it."""
    return encoded((int.from_bytes(crypto.sha256(f"recipient {word}".encode()), "little") >> 2).to_bytes(32, "little"))


def encoded(raw: bytes, prefix: str = "age") -> str:
    """Bytes in Bech32 (BIP-173)."""
    bits = 8 * len(raw)
    number = int.from_bytes(raw, "big") << -bits % 5
    data = [number >> at & 31 for at in range((bits - 1) // 5 * 5, -1, -5)]
    check = polymod([*expanded(prefix), *data, *[0] * 6]) ^ 1
    return f"{prefix}1" + "".join(ALPHABET[value] for value in (*data, *(check >> at & 31 for at in range(25, -1, -5))))
