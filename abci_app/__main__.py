"""Run a node's application: ``python -m abci_app --home DIR --address unix:///…``.

Refuses to start where it could fork the chain: under ``python -O`` (asserts guard invariants), with another
package called ``contracts`` shadowing ours, with a signature library that gives other verdicts than the rule, or over
a store whose next block needs rules that this program does not know.
"""

import argparse
import logging
import sys
from pathlib import Path
from typing import ClassVar

import contracts
from contracts.kernel import codec, crypto
from contracts.registry import RULES
from contracts.rulebook import Rulebook

from .app import LedgerApplication
from .protocol import server
from .protocol.application import Halt
from .store.interface import StoreError
from .store.lmdb_store import LmdbStore
from .store.recovery import NewerRules

EXIT_REFUSED = 78  # EX_CONFIG of sysexits.h
EXIT_HALTED = 70


class StartRefused(RuntimeError):
    """The process must not take part in consensus as it was started."""

    kind: ClassVar[str] = "usage"


def main(arguments: list[str] | None = None, book: Rulebook = RULES) -> int:
    """Parse arguments, open the store and serve until a signal, by the rules of a book. Returns the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    log = logging.getLogger("abci_app")
    try:
        refuse_unsafe_start()
        crypto.self_test()
        codec.self_test()
        store = LmdbStore.open(options.home / "ledger")
    except (StartRefused, crypto.SelfTestFailed, StoreError) as error:
        log.critical("refusing to start: %s", error)
        return EXIT_REFUSED
    try:
        return server.run(LedgerApplication(store, book), options.address)
    except NewerRules as error:  # While it runs, the server reports it as what stopped the node.
        log.critical("refusing to start: %s", error)
        return EXIT_REFUSED
    except (Halt, StoreError) as error:
        log.critical("HALT: %s", error)
        return EXIT_HALTED
    finally:
        store.close()


def refuse_unsafe_start() -> None:
    """Raise StartRefused under ``python -O`` or when ``contracts`` is not the package beside this one."""
    if sys.flags.optimize:
        raise StartRefused("python -O removes the assertions that guard consensus; start without it")
    ours = Path(__file__).resolve().parent.parent / "contracts"
    theirs = Path(contracts.__file__ or "").resolve().parent
    if theirs != ours:
        raise StartRefused(
            f"the package 'contracts' was imported from {theirs}, not from {ours}: another one shadows it"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m abci_app", description="The fedledger application of one node.")
    parser.add_argument("--home", type=Path, required=True, help="folder of this node's data")
    parser.add_argument(
        "--address", required=True, help="where CometBFT connects: unix:///PATH or tcp://127.0.0.1:PORT"
    )
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
