"""The generated part of ``fedledger.py``: a name for every refusal of the ledger, from the registry.

Twice, as everything there: once for type checkers, which read imports, and once for a program, which loads what it
uses. The client's own errors stand beside them, by hand.
"""

import re
from collections.abc import Iterator
from typing import Final

from contracts.registry import RULES

_BLOCK: Final = re.compile(
    r"^( *)# Generated from the registry, the (imports|homes)\.\n.*?^ *# End of what is generated\.\n",
    re.DOTALL | re.MULTILINE,
)
_LINE_CHARS: Final = 120


def rendered(text: str) -> str:
    """The façade's text with both blocks written anew."""
    blocks = {"imports": "".join(_imports()), "homes": "".join(_homes())}
    return _BLOCK.sub(
        lambda m: (
            f"{m[1]}# Generated from the registry, the {m[2]}.\n{blocks[m[2]]}{m[1]}# End of what is generated.\n"
        ),
        text,
    )


def _modules() -> dict[str, list[str]]:
    """The names of the refusals by the module that declares them, both sorted."""
    found: dict[str, list[str]] = {}
    for refusal in RULES.refusals.values():
        found.setdefault(refusal.__module__, []).append(refusal.__name__)
    return {module: sorted(names) for module, names in sorted(found.items())}


def _imports() -> Iterator[str]:
    for module, names in _modules().items():
        yield f"    from {module} import (\n"
        yield from (f"        {name} as {name},\n" for name in names)
        yield "    )\n"


def _homes() -> Iterator[str]:
    for module, names in _modules().items():
        yield f'    "{module}": (\n'
        line = ""
        for name in (f'"{name}",' for name in names):
            if len(f"        {line} {name}") > _LINE_CHARS:
                yield f"        {line}\n"
                line = ""
            line = f"{line} {name}".strip()
        yield f"        {line}\n    ),\n"
