"""What it costs to check a receipt offline: ``python -m benchmarks.receipts``.

Receipts of a transaction and of a record, of ledgers with 4 to 64 validators that all signed, read from bytes and
verified from the genesis as ``fedledger receipt verify`` does it: everything but starting Python. Processor time of one
thread, so that what else the machine does is left out.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass
from statistics import median, quantiles

from campaigns.harness.answered import ACCOUNT, ledger
from campaigns.harness.header_chain import Members
from client_sdk.receipts import GenesisTrust, decode, encode, export, verify
from contracts.kernel.crypto import sha256


@dataclass(frozen=True)
class Row:
    """One kind of receipt; times in milliseconds of processor time."""

    kind: str
    validators: int
    bytes: int
    decode_ms: float
    p50_ms: float
    p99_ms: float
    worst_ms: float


def main() -> None:
    """Measure and print a table, or JSON."""
    parser = argparse.ArgumentParser(description="What it costs to check a receipt offline.")
    parser.add_argument("--repeat", type=int, default=500, metavar="N", help="checks of each receipt (default: 500)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    rows = [row for count in (4, 16, 64) for row in measured(count, options.repeat)]
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
        return
    print("kind         validators  bytes  decode ms  p50 ms  p99 ms  worst ms")
    for row in rows:
        print(
            f"{row.kind:<11}  {row.validators:>10}  {row.bytes:>5}  {row.decode_ms:>9.2f}  {row.p50_ms:>6.2f}"
            f"  {row.p99_ms:>6.2f}  {row.worst_ms:>8.2f}"
        )


def measured(validators: int, repeat: int) -> list[Row]:
    """Both kinds of receipt, of a ledger with this many validators."""
    told = ledger(first=Members.of(**{f"validator-{number}": 10 for number in range(validators)}))
    trust = GenesisTrust(told.trust)
    receipts = {
        "transaction": told.ask(lambda client: export.transaction(client, sha256(told.transactions[0]))),
        "record": told.ask(lambda client: export.record(client, ACCOUNT)),
    }
    rows = []
    for kind, receipt in receipts.items():
        raw, read, whole = encode(receipt), [], []
        for _ in range(repeat):
            start = time.thread_time()
            decoded = decode(raw)
            read.append(time.thread_time() - start)
            verify(decoded, trust)
            whole.append(time.thread_time() - start)
        p99 = quantiles(whole, n=100)[98]
        times = (median(read), median(whole), p99, max(whole))
        rows.append(Row(kind, validators, len(raw), *(1_000 * each for each in times)))
    return rows


if __name__ == "__main__":
    main()
