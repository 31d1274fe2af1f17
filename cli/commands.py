"""How nouns and verbs are declared: ``noun`` makes a group, ``verb`` adds a command with an example.

Help is printed before anything is parsed: Typer checks arguments with pydantic, whose import alone would take longer
than all of the help.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

F = TypeVar("F", bound=Callable[..., Any])
_SENTENCE_CHARS = 200
ALIASES = {"ls": "list"}  # Understood, and shown nowhere: there is one spelling.


class Verb(TyperCommand):
    """A command whose help needs nothing else."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Print help when it is asked for, wherever; else parse."""
        before_separator = args[: args.index("--")] if "--" in args else args
        if "--help" in before_separator and not ctx.resilient_parsing:
            show_help(ctx)
        return super().parse_args(ctx, args)

    def get_short_help_str(self, limit: int = _SENTENCE_CHARS) -> str:
        """The first sentence, whole: a listing wraps it."""
        return super().get_short_help_str(max(limit, _SENTENCE_CHARS))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The arguments as manuals write them: NAME, not {NAME}."""
        return [piece.replace("{", "").replace("}", "") for piece in super().collect_usage_pieces(ctx)]


class Noun(TyperGroup):
    """A group whose help needs nothing else; without a verb it shows its help."""

    _has_options = True

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Print help when it is asked for, or when there is nothing to do; else parse."""
        if not ctx.resilient_parsing and (not args or args[0] == "--help"):
            show_help(ctx)
        self._has_options = bool(args) and args[0].startswith("-")
        try:
            return super().parse_args(ctx, args)
        finally:
            self._has_options = True

    def get_params(self, ctx: Any) -> Any:
        """The group's own options, which stand before the verb; without one there, none is checked."""
        return super().get_params(ctx) if self._has_options else []

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The verb of this name or alias."""
        return super().get_command(ctx, ALIASES.get(cmd_name, cmd_name))


def noun() -> typer.Typer:
    """An empty group; ``app`` knows its help."""
    group = typer.Typer(cls=Noun, rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
    group.callback()(_stay_a_group)
    return group


def verb(group: typer.Typer, name: str, example: str) -> Callable[[F], F]:
    """Add a command to a group. Its docstring is its help; ``example`` is what to type after ``fedledger``."""

    def add(function: F) -> F:
        group.command(name, cls=Verb, epilog=f"Example: fedledger {example}")(function)
        return function

    return add


def solo(function: F, example: str) -> typer.Typer:
    """A command that needs no noun: an application of one verb."""
    alone = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
    alone.command(cls=Verb, epilog=f"Example: fedledger {example}")(function)
    return alone


def _stay_a_group() -> None:
    # Typer makes a command of a group with one verb, unless it has a callback.
    pass


def show_help(ctx: Any) -> None:
    """Print the help of a command and end it."""
    typer.echo(ctx.get_help())
    ctx.exit()
