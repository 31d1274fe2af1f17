"""The help of every command as one Markdown document: ``docs/cli.md``."""

from collections.abc import Iterator
from typing import Any, Final

import typer

from . import app

_COLUMNS: Final = 100
_HEAD: Final = """\
# The command line

Every command of `fedledger`, as `--help` prints it. This page is generated: change the commands, then `make docs`.

Standard output holds the result only: tables, or with `--format json` exactly one JSON document,
`{"schema_version": 1, "status": "ok", "data": …}` or `{"schema_version": 1, "status": "error",
"error_code": "BUDGET_EXCEEDED", "code": 401, "message": …, "hint": …, "facts": …}`;
with `--format jsonl` one line for each item. In JSON, records are as on the ledger: ε in 10⁻⁹, times in milliseconds.
Everything else goes to standard error. Exit status:

| Status | Meaning |
|---|---|
| 0 | done |
| 1 | refused by the ledger, or failed |
| 2 | not connected or not let in (node down, wrong passphrase, exposed key file), or this machine cannot (full disk) |
| 3 | no answer in time |
| 4 | wrong arguments, or a wrong file named by them |
| 5 | a bug |
| 6 | a receipt whose parts contradict each other: the message, and `facts.part`, name the part |
| 7 | a file that is no receipt |
| 8 | a receipt that does not lead back to what is trusted |
| 9 | a node's store that is damaged |
| 10 | two nodes whose states differ |
| 130 | interrupted with Ctrl-C |

Environment: `FEDLEDGER_LEDGER`, `FEDLEDGER_AS` and `FEDLEDGER_PASSPHRASE_FILE` stand for `--ledger`, `--as` and
`--passphrase-file`; `FEDLEDGER_HOME` is where a devnet lives; `FEDLEDGER_DEBUG` is `--debug`; `NO_COLOR` is obeyed.

What is read is verified against the validators' signatures, also that nothing is there. A node can leave names out of
some lists: where the ledger counts them, the count is proved and the list says how many are missing; where it does not,
the list says so. JSON has both as `"listed": {"shown": …, "counted": …}` beside `data`. What tells `round watch` when
to stop is not verified. `--trust-node`, anywhere on the line, or `FEDLEDGER_TRUST_NODE` turns verification off: a
warning goes to standard error, and each JSON document or line has `"verified": false`. Commands that sign refuse it.
"""


def markdown() -> str:
    """The whole document. The same on every machine that has the same packages installed."""
    root = app.command()
    ctx = typer.Context(root, info_name=app.PROGRAM, terminal_width=_COLUMNS)
    return _HEAD + "".join(_section(path, text) for path, text in _pages(root, ctx))


def _section(path: str, text: str) -> str:
    is_verb = len(path.split()) > 2
    return f"\n{'###' if is_verb else '##'} `{path}`\n\n```text\n{text}\n```\n"


def _pages(command: Any, ctx: typer.Context) -> Iterator[tuple[str, str]]:
    """Path and help of a command and of all below it."""
    yield ctx.command_path, "\n".join(map(str.rstrip, command.get_help(ctx).splitlines()))
    for name in command.list_commands(ctx) if hasattr(command, "list_commands") else []:
        below = command.get_command(ctx, name)
        if below is not None and not below.hidden:
            yield from _pages(below, typer.Context(below, info_name=name, parent=ctx, terminal_width=_COLUMNS))
