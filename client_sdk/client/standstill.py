"""Noticing that the chain stands still while something waits for it."""

import logging

_log = logging.getLogger(__name__)


class Standstill:
    """Says, once each time, that no block has come for so long: who waits for a transaction should know why."""

    def __init__(self, digest: bytes, seconds: float) -> None:
        self._digest, self._seconds = digest, seconds
        self._height, self._since, self._said = 0, 0.0, False

    def notice(self, height: int, now: float) -> None:
        """The chain was seen at a height."""
        if height != self._height:
            self._height, self._since, self._said = height, now, False
        elif now - self._since >= self._seconds and not self._said:
            self._said = True
            _log.warning(
                "no block after %d for %.0f s: transaction %s waits; more than two thirds of the validators must run",
                height, now - self._since, self._digest.hex(),
            )  # fmt: skip
