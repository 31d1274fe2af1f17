"""What a planted bug is: patches of the real code, and the checker that must notice them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

Patches: TypeAlias = Iterator[Any]
ANOTHER_INTERPRETER = "another interpreter"


@dataclass(frozen=True)
class Plant:
    """A bug: what is wrong, who must notice, and its patches."""

    what: str
    noticed_by: str
    patches: Callable[[], Patches]
    replicas: int = 4
    """How many it takes: a wrong rule is as wrong on one, and cheaper to notice."""

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Put the bug in for a while."""
        with ExitStack() as stack:
            for one in self.patches():
                stack.enter_context(one)
            yield
