"""Damage to the data of a stopped node, by seed, and what its application and ``fsck`` then make of it.

    python -m campaigns.damage --seeds 1000            the table, and every outcome that must not be
    python -m campaigns.damage --seeds 1000 --blind    the same without the check of the pages

The application that wrote the data ran a real workload. Each trial damages a copy: one bit in a page, a sector of 512
bytes overwritten, a page with its contents from an earlier block or of another page, or a file cut short. Then, each in
a process of its own, the application starts, goes on for a few commits, and every value is compared; and fsck runs.
A process that crashes or does not end is an outcome too.
"""

import argparse
import json
import os
import random
import shutil
import signal
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from abci_app.app import LedgerApplication
from abci_app.inspection import fsck
from abci_app.protocol.application import Halt
from abci_app.store import lmdb_store
from abci_app.store.interface import StoreError, Version
from abci_app.store.lmdb_store import LmdbStore

from .simulation.cluster import Cluster
from .simulation.faults import LmdbDisk

MAP_BYTES = 2**22
PAGE = 4096
_HANG_SECONDS = 240  # For a process that takes a tenth of a second: it catches one that hangs, nothing else.
KINDS = (
    "bit",
    "bit in a header",
    "sector zeroed",
    "sector of noise",
    "page from before",
    "page misplaced",
    "cut short",
)


@dataclass(frozen=True)
class Specimen:
    """The data of a stopped node, as it was a block earlier too, and what is in it."""

    home: Path
    earlier: bytes
    version: Version
    entries: dict[bytes, bytes]
    previous: dict[bytes, bytes]
    pages: int


@dataclass(frozen=True)
class Outcome:
    """What a process did: ``clean``, ``refused``, ``damaged``, or one of those that must not be."""

    kind: str
    said: str = ""


# A block behind is the one of LMDB's two meta pages that was valid before: CometBFT replays the block in its handshake.
SAFE_STARTS = ("same state", "a block behind", "refused")
SAFE_CHECKS = ("clean", "damaged", "cannot open")


def specimen(home: Path, heights: int = 120) -> Specimen:
    """Run a network for some heights and stop it."""
    cluster = Cluster(4, [LmdbDisk(home / "ledger")])
    data, earlier = home / "ledger" / "data.mdb", b""
    while cluster.agreement.height < heights or not cluster.agreement.blocks[-1].txs:
        earlier = data.read_bytes()
        cluster.advance()
    cluster.wake()
    cluster.replicas[0].stop()
    with lmdb_store.inspect(home / "ledger") as (pages, snapshot):
        assert snapshot is not None
        entries, previous = dict(snapshot.scan(b"")), dict(snapshot.scan_previous(b""))
        return Specimen(home, earlier, snapshot.version, entries, previous, pages.used + pages.free)


def copied(original: Specimen, to: Path) -> Path:
    """A copy of the data, in a new home."""
    shutil.copytree(original.home, to)
    return to


def damage(original: Specimen, home: Path, rng: random.Random) -> str:
    """Damage a copy somehow, and say how."""
    data = home / "ledger" / "data.mdb"
    kind = rng.choice(KINDS)
    page = rng.randrange(original.pages)
    if kind == "cut short":
        os.truncate(data, rng.choice((rng.randrange(original.pages * PAGE), rng.randrange(data.stat().st_size))))
        return kind
    with data.open("r+b") as file:
        whole = file.read(original.pages * PAGE)
        at, new = _overwritten(kind, page, whole, original.earlier, rng)
        file.seek(at)
        file.write(new)
    return kind


def _overwritten(kind: str, page: int, whole: bytes, earlier: bytes, rng: random.Random) -> tuple[int, bytes]:
    """Where, and with what."""
    start = page * PAGE
    if kind in ("bit", "bit in a header"):
        most = 64 if kind == "bit in a header" else PAGE
        at = start + rng.randrange(most)
        return at, bytes([whole[at] ^ 1 << rng.randrange(8)])
    if kind.startswith("sector"):
        return start + 512 * rng.randrange(8), bytes(512) if kind == "sector zeroed" else rng.randbytes(512)
    if kind == "page from before":
        return start, earlier[start : start + PAGE]
    other = rng.randrange(len(whole) // PAGE) * PAGE
    return start, struct.pack("=Q", page) + whole[other + 8 : other + PAGE]


def started(original: Specimen, home: Path) -> Outcome:
    """Start the application in a process of its own, go on, and compare every value with what it should be."""
    return isolated(lambda: _started(original, home))


def checked(home: Path) -> Outcome:
    """Run fsck in a process of its own."""
    return isolated(lambda: _checked(home))


def _started(original: Specimen, home: Path) -> Outcome:
    try:
        store = LmdbStore.open(home / "ledger", MAP_BYTES)
        application = LedgerApplication(store)
    except (StoreError, Halt) as error:
        return Outcome("refused", str(error))
    del application
    if store.height == original.version.height - 1 and dict(store.scan(b"")) == original.previous:
        return Outcome("a block behind")
    if store.version != original.version:
        return Outcome("another version", f"{store.version.height}")
    if dict(store.scan(b"")) != original.entries:
        return Outcome("another state")
    for path in {**original.entries, **original.previous}:
        if (store.get(path), store.get_previous(path)) != (original.entries.get(path), original.previous.get(path)):
            return Outcome("another state", path.decode("ascii", "replace"))
    return _gone_on(store, dict(original.entries))


def _gone_on(store: LmdbStore, expected: dict[bytes, bytes]) -> Outcome:
    """A few more commits, which use pages that are believed to be free."""
    rng = random.Random(store.height)
    for height in range(store.height + 1, store.height + 9):
        writes: dict[bytes, bytes | None] = {path: rng.randbytes(200) for path in rng.sample(sorted(expected), 20)}
        expected |= {path: body for path, body in writes.items() if body is not None}
        store.commit(height, b"h", writes, app_version=1)
        if dict(store.scan(b"")) != expected or any(store.get(path) != body for path, body in expected.items()):
            return Outcome("another state later", f"at height {height}")
    store.close()
    return Outcome("same state")


def _checked(home: Path) -> Outcome:
    try:
        report = fsck.examine(home)
    except StoreError as error:
        return Outcome("cannot open", str(error))
    if not report.findings:
        return Outcome("clean")
    return Outcome("damaged", str(report.findings[0]))


def isolated(work: Callable[[], Outcome]) -> Outcome:
    """The outcome of a piece of work in a child process, which may crash or hang without harm."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        signal.alarm(_HANG_SECONDS)
        try:
            outcome = work()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is an outcome.
            outcome = Outcome("unexpected error", f"{type(error).__name__}: {error}")
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(json.dumps([outcome.kind, outcome.said]).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        return Outcome("does not end" if name == "SIGALRM" else "killed", name)
    return Outcome(*json.loads(answer))


@dataclass(frozen=True)
class Trial:
    """One seed: how the data was damaged, and what came of it."""

    seed: int
    kind: str
    start: Outcome
    check: Outcome

    @property
    def safe(self) -> bool:
        """Whether nothing came of it that must not: what fsck calls clean must start."""
        consistent = self.check.kind != "clean" or self.start.kind != "refused"
        return self.start.kind in SAFE_STARTS and self.check.kind in SAFE_CHECKS and consistent


def trial(original: Specimen, seed: int, folder: Path) -> Trial:
    """Damage a copy by a seed and look at it twice: fsck first, which changes nothing."""
    home = copied(original, folder / f"seed-{seed}")
    try:
        kind = damage(original, home, random.Random(seed))
        check = checked(home)
        return Trial(seed, kind, started(original, home), check)
    finally:
        shutil.rmtree(home)


def main() -> int:
    """Run trials and print a table of their outcomes as JSON."""
    parser = argparse.ArgumentParser(description="Damage a node's data and see what its application makes of it.")
    parser.add_argument("--seeds", type=int, default=1_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--blind", action="store_true", help="without the check of the pages")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        original = specimen(Path(folder) / "original")
        if options.blind:
            _no_check_of_pages()
        seeds = range(options.first, options.first + options.seeds)
        trials = [trial(original, seed, Path(folder)) for seed in seeds]
    unsafe = [each for each in trials if not each.safe]
    document: dict[str, Any] = {
        "seeds": options.seeds,
        "entries": len(original.entries),
        "pages": original.pages,
        "seconds": round(time.monotonic() - began),
        "outcomes": _table(trials),
        "unsafe": [f"seed {one.seed}: {one.kind}: {one.start} / {one.check}" for one in unsafe[:20]],
    }
    sys.stdout.write(json.dumps(document, indent=1) + "\n")
    return 1 if unsafe else 0


def _table(trials: list[Trial]) -> dict[str, dict[str, int]]:
    """For each kind of damage, how often the start and fsck came to what."""
    return {
        kind: dict(
            sorted(Counter(f"{one.start.kind} / {one.check.kind}" for one in trials if one.kind == kind).items())
        )
        for kind in KINDS
    }


def _no_check_of_pages() -> None:
    from abci_app.store.pages import Pages

    lmdb_store._pages = lambda folder, transaction: Pages(())


if __name__ == "__main__":
    sys.exit(main())
