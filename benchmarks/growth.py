"""What a larger state costs: ``python -m benchmarks growth``.

A ledger with 10³ to 10⁶ entries, seats like those of real rounds: how long a block of 500 writes takes, a query
with its proof, a restart (the Merkle trees are built anew), how much memory and disk. The entries come in as the writes
of blocks that no transaction asked for, because a million transactions would take an hour; the writes that are measured
replace existing entries, so the state keeps its size. What the rules cost does not depend on it: see ``stages``.
"""

import argparse
import gc
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import lmdb

from abci_app.protocol import messages as m
from benchmarks.load.network import manifest
from benchmarks.load.process import Node
from benchmarks.measuring import figures, processes, record
from contracts import transition
from contracts.contributions import SEATS, Commitment, Seat
from contracts.kernel import Place, crypto
from contracts.reputation import WEIGHT_ONE
from devnet.manifest import Application, Timeouts

NAME = "growth"
SIZES = (10**3, 10**4, 10**5, 10**6)
BLOCK_WRITES, BLOCKS, QUERIES = 500, 20, 300
FILL_WRITES = 20_000
_PAGE_BYTES = 4096


def main() -> int:
    """Fill one ledger from size to size and measure at each. Returns the exit status."""
    options = _parser().parse_args()
    if options.reopen:
        print(json.dumps(measured(options.reopen, options.sizes[0])))
        return 0
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="fedledger-bench-") as folder:
        for before, size in zip((0, *options.sizes), options.sizes, strict=False):
            began = time.monotonic()
            fill(Path(folder), before, size)
            filled = time.monotonic() - began
            rows.append({**in_new_process(Path(folder), size), "fill_seconds": round(filled, 1)})
            record.save(options.output, {"at": record.now(), "revision": record.revision(), "sizes": rows})
            print(rows[-1], flush=True)
    return 0


def fill(folder: Path, before: int, size: int) -> None:
    """Let blocks write entries until there are ``size``; the first call makes the ledger."""
    opened = Node.reopened(folder) if before else Node.of(folder, manifest(Application.FEDLEDGER, 1, Timeouts.FAST, 4))
    with opened as node:
        paths = iter(range(before, size))
        while writes := {path_of(number): body_of(number) for number in islice(paths, FILL_WRITES)}:
            with writing(writes):
                node.block((), proposed=False)


def in_new_process(folder: Path, size: int) -> dict[str, Any]:
    """``measured`` in a process that held nothing before, so that its memory is this ledger's."""
    command = [sys.executable, "-m", "benchmarks.growth", "--sizes", str(size), "--reopen", str(folder)]
    ran = subprocess.run(command, cwd=record.ROOT, stdout=subprocess.PIPE, check=True, timeout=900)
    row: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return row


def measured(folder: Path, size: int) -> dict[str, Any]:
    """Restart on a filled ledger, then pass blocks through it and ask it for proofs."""
    empty = processes.memory_bytes()
    chosen = random.Random(size)
    began = time.perf_counter()
    with Node.reopened(folder) as node:
        restart = time.perf_counter() - began
        gc.collect()
        memory = processes.memory_bytes() - empty
        for number in range(BLOCKS):
            replaced = {path_of(at): body_of(at + number + 1) for at in chosen.sample(range(size), BLOCK_WRITES)}
            with writing(replaced):
                node.block((), proposed=False)
        blocks = {stage: node.times[stage][-BLOCKS:] for stage in ("FinalizeBlock", "Commit")}
        answers = [ask(node, chosen.randrange(size)) for _ in range(QUERIES)]
        queries = node.times["query with proof"][-QUERIES:]
        entries = size
    return {
        "entries": entries,
        "restart_s": round(restart, 3),
        "memory_mib": round(memory / 2**20, 1),
        "database_mib": round(database_bytes(folder / "ledger") / 2**20, 1),
        "finalize_p50_ms": round(median(blocks["FinalizeBlock"]) * 1000, 2),
        "commit_p50_ms": round(median(blocks["Commit"]) * 1000, 2),
        "block_p95_ms": round(
            figures.percentile([sum(each) for each in zip(*blocks.values(), strict=True)], 95) * 1000, 2
        ),
        "query_p50_us": round(median(queries) * 1e6, 1),
        "query_p95_us": round(figures.percentile(queries, 95) * 1e6, 1),
        "proof_bytes": median([answer.proof_ops.ByteSize() for answer in answers]),
        "proof_bytes_most": max(answer.proof_ops.ByteSize() for answer in answers),
    }


def ask(node: Node, number: int) -> m.ResponseQuery:
    """An entry with its proof. Raises LookupError when it is not there: what is measured is not what was meant."""
    contract, _, key = path_of(number).partition(b"/")
    answer = node.query(contract.decode("ascii"), key)
    if not answer.value or not answer.proof_ops.ops:
        raise LookupError(f"entry {number}: {answer.log}")
    return answer


def path_of(number: int) -> bytes:
    """The path of entry ``number``: 64 organisations, 1,000 rounds of each task."""
    rest, organisation = divmod(number, 64)
    task, round_number = divmod(rest, 1_000)
    return SEATS.path((f"task-{task:03}", round_number + 1, f"org-{organisation:02}"))


def body_of(number: int) -> bytes:
    """A seat's record with its commitment, different for every number."""
    digest = crypto.sha256(number.to_bytes(8, "big"))
    cid = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
    return Seat(
        number % 64, "records", WEIGHT_ONE, Commitment(digest, Place(number, 0), cid, digest, 50_000, digest)
    ).encode()


@contextmanager
def writing(writes: Mapping[bytes, bytes | None]) -> Iterator[None]:
    """Let the next block write this, whatever its transactions do."""
    decide = transition.apply_block

    def also(*arguments: Any, **named: Any) -> Any:
        results, own = decide(*arguments, **named)
        return results, {**own, **writes}

    with patch.object(transition, "apply_block", also):
        yield


def database_bytes(folder: Path) -> int:
    """The pages of a node's database that are in use: its file is as long as it may become."""
    with lmdb.open(str(folder), readonly=True, lock=False, max_dbs=8) as env:
        pages: int = env.info()["last_pgno"]
        return (pages + 1) * _PAGE_BYTES


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks growth", description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=lambda text: [int(part) for part in text.split(",")], default=list(SIZES))
    parser.add_argument("--reopen", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, default=record.path_of(NAME))
    return parser


if __name__ == "__main__":
    sys.exit(main())
