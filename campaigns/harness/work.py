"""Work that is counted and not timed: lines of Python, the same number on any machine under any load.

Loops of an extension in C do not count; what never ends there is for the limit on a whole test to catch.
"""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


class TooMuchWork(BaseException):
    """More lines were run than may be. No ``Exception``, so that what is counted does not catch it."""


def lines_of(run: Callable[[], object], most: int) -> int:
    """How many lines a call runs. Raises TooMuchWork before it runs more than ``most``, and what ``run`` raises."""
    ran, before = 0, sys.gettrace()

    def trace(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal ran
        if event == "line":
            ran += 1
            if ran > most:
                raise TooMuchWork(f"more than {most:,} lines of Python")
        return trace

    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
    return ran
