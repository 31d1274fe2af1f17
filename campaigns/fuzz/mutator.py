"""A stream of bytes that are almost right: made of good ones, by a seed, one or a few changes at a time.

Half of the changes know the format (``dialects``); the others know bytes only: flipped bits, cuts, doubled and
exchanged stretches, lengths and integers at their extremes. Case ``n`` of a seed is the same whatever came before it.
"""

from collections.abc import Callable, Sequence
from random import Random

from .dialects import Dialect, Unreadable
from .trees import DEPTHS

CHANGES_MAX = 4
_WIDTHS = (1, 2, 4, 8)


class Mutator:
    """Changes samples of one corpus, which are spliced with each other. ``bytes_max`` bounds what comes out."""

    def __init__(self, corpus: Sequence[bytes], dialects: Sequence[Dialect] = (), bytes_max: int = 1 << 17) -> None:
        if not corpus:
            raise ValueError("a corpus has at least one sample")
        self._corpus, self._dialects, self._bytes_max = tuple(corpus), tuple(dialects), bytes_max

    def case(self, name: str, number: int) -> bytes:
        """The ``number``-th case of a stream."""
        rng = Random(f"{name} {number}")
        return self.changed(rng, rng.choice(self._corpus))

    def changed(self, rng: Random, raw: bytes) -> bytes:
        """These bytes with one or a few changes."""
        for _ in range(min(rng.randint(1, CHANGES_MAX), rng.randint(1, CHANGES_MAX))):
            raw = self._once(rng, raw)
        return raw[: self._bytes_max]

    def _once(self, rng: Random, raw: bytes) -> bytes:
        if self._dialects and rng.random() < 0.5:
            try:
                return rng.choice(self._dialects)(rng, raw)
            except Unreadable:
                pass
        other = rng.choice(self._corpus)
        return rng.choice(_CHANGES)(rng, raw, other)


def _flipped(rng: Random, raw: bytes, _other: bytes) -> bytes:
    changed = bytearray(raw or b"\0")
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _replaced(rng: Random, raw: bytes, _other: bytes) -> bytes:
    changed = bytearray(raw or b"\0")
    changed[rng.randrange(len(changed))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return bytes(changed)


def _cut(rng: Random, raw: bytes, _other: bytes) -> bytes:
    return raw[: rng.randint(0, len(raw))]


def _removed(rng: Random, raw: bytes, _other: bytes) -> bytes:
    start, stop = _stretch(rng, raw)
    return raw[:start] + raw[stop:]


def _doubled(rng: Random, raw: bytes, _other: bytes) -> bytes:
    start, stop = _stretch(rng, raw)
    return raw[:stop] + raw[start:stop] * rng.choice((1, 1, 2, 50)) + raw[stop:]


def _inserted(rng: Random, raw: bytes, _other: bytes) -> bytes:
    at = rng.randint(0, len(raw))
    content = rng.choice((bytes(rng.randint(1, 9)), b"\xff" * rng.randint(1, 9), rng.randbytes(rng.randint(1, 9))))
    return raw[:at] + content + raw[at:]


def _spliced(rng: Random, raw: bytes, other: bytes) -> bytes:
    return raw[: rng.randint(0, len(raw))] + other[rng.randint(0, len(other)) :]


def _transplanted(rng: Random, raw: bytes, other: bytes) -> bytes:
    at, (start, stop) = rng.randint(0, len(raw)), _stretch(rng, other)
    return raw[:at] + other[start:stop] + raw[at + (stop - start) * rng.randrange(2) :]


def _extreme(rng: Random, raw: bytes, _other: bytes) -> bytes:
    """An integer of some width, somewhere, at the end of its range."""
    width = rng.choice(_WIDTHS)
    top = 1 << 8 * width
    value = rng.choice((0, 1, top - 1, top >> 1, (top >> 1) - 1, len(raw), len(raw) + 1, len(raw) - 1)) % top
    at = rng.randint(0, max(0, len(raw) - width))
    return raw[:at] + value.to_bytes(width, rng.choice(("big", "little"))) + raw[at + width :]


def _deep(rng: Random, raw: bytes, _other: bytes) -> bytes:
    at = rng.randint(0, len(raw))
    return (
        raw[:at]
        + rng.choice((b"\x81", b"\xa1\x60", b"\xd8\x2a", b"[", b'{"a":', b"\x0a\x7f")) * rng.choice(DEPTHS)
        + raw[at:]
    )


def _stretch(rng: Random, raw: bytes) -> tuple[int, int]:
    start = rng.randint(0, len(raw))
    return start, min(len(raw), start + rng.choice((1, 2, 4, 8, 32, 36, len(raw))))


_CHANGES: tuple[Callable[[Random, bytes, bytes], bytes], ...] = (
    _flipped, _flipped, _replaced, _cut, _removed, _doubled, _inserted, _spliced, _transplanted, _extreme, _extreme,
    _deep,
)  # fmt: skip
