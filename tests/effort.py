"""How many examples the tests that draw them draw: as many as a change has to pass, or TEST_EFFORT times as many.

``TEST_EFFORT=10 make test`` is for a night, when nobody waits.
"""

import os

EFFORT = int(os.environ.get("TEST_EFFORT", "1"))


def examples(number: int) -> int:
    """So many, times the effort."""
    return number * EFFORT
