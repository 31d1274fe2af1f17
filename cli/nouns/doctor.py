"""``fedledger doctor``: what is wrong, and the one thing to do about it. ``checks`` looks."""

import asyncio

import typer

from .. import options
from ..access import Access
from ..commands import solo
from ..output import Format, Line, Rows, emit, working


def doctor(
    ledger: options.Ledger = options.DEVNET,
    who: options.Who = "",
    output: options.Output = Format.TXT,
) -> None:
    """Check this machine, the nodes and your keys; each finding is ok, warn or fail, with what to do.

    Changes nothing and asks for no passphrase. Exit status 1 when something fails.
    """
    from ..checks import Check, Health, all_checks

    async def run() -> list[Check]:
        return [check async for check in all_checks(Access(ledger, who))]

    with working(output, "looking"):
        found = asyncio.run(run())
    failed = [check for check in found if check.verdict is Health.FAIL]
    warned = [check for check in found if check.verdict is Health.WARN]
    rows = [(check.verdict, check.subject, check.found, check.remedy) for check in found]
    said = "All is well." if not failed and not warned else f"{len(failed)} to repair, {len(warned)} to know."
    emit(
        output,
        {"healthy": not failed, "checks": found},
        Rows(("", "what", "found", "what to do"), rows),
        Line(f"\n{said}"),
    )
    if failed:
        raise typer.Exit(1)


app = solo(doctor, example="doctor --as hospital-a")
