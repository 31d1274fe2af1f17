"""Verified headers by height: what must be fetched for one, in which order, and what is remembered.

The rules are in ``client_sdk.light``; this is the loop around them. A later header is verified at once when enough of
the validators we know signed it, else by way of headers between (bisection). An earlier one is verified from a state
below it, or, where that has expired, by the chain of hashes that leads down to it.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from ..light import (
    TRUSTING_PERIOD_NS,
    CannotVerify,
    OverlapTooSmall,
    SignedHeader,
    TrustedState,
    ValidatorSet,
    trust_checkpoint,
    verify_header,
    verify_previous,
)
from ..rpc import HeightPruned, HeightUnavailable, RpcClient
from .checkpoints import Checkpoint, CheckpointFile

T = TypeVar("T")
STATES_KEPT: Final = 256
STEPS_BACK_MAX: Final = 1_000
_SAVE_EVERY_NS: Final = 600 * 10**9  # Of block time: a checkpoint only has to be younger than the trusting period.
_log = logging.getLogger(__name__)


class TrustedHeaders:
    """Headers that lead back to a root of trust. One object serves one asyncio loop."""

    def __init__(
        self,
        rpc: RpcClient,
        root: TrustedState,
        *,
        checkpoints: CheckpointFile | None = None,
        trusting_period_ns: int = TRUSTING_PERIOD_NS,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """``root`` is from ``light.trust_genesis`` or ``light.trust_checkpoint``; ``clock`` gives nanoseconds."""
        self._rpc = rpc
        self._root = root
        self._newest = root
        self._states = {root.height: root}
        self._checkpoints = checkpoints
        self._saved_ns: int | None = None
        self._resumed = checkpoints is None
        self._period_ns = trusting_period_ns
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()

    @property
    def root(self) -> TrustedState:
        """What trust began with."""
        return self._root

    @property
    def newest(self) -> TrustedState:
        """The highest state verified so far, or the root of trust."""
        return self._newest

    async def at(self, height: int) -> TrustedState:
        """The verified header of a height.

        Raises VerificationFailed, CannotVerify, NodeUnavailable, NodeError, AnswerMalformed.
        """
        known = self._states.get(height)
        if known is not None:  # Not behind somebody who waits for a header that is not there yet.
            return known
        async with self._one_at_a_time:
            if not self._resumed:
                await self._resume()
            known = self._states.get(height)
            if known is not None:
                return known
            now = self._clock()
            below = [state for state in self._states.values() if state.height < height]
            live = [state for state in below if now < state.time_ns + self._period_ns]
            if live or height > self._newest.height:
                return await self._forward(max(live or below, key=lambda state: state.height), height)
            return await self._backward(height)

    async def _forward(self, base: TrustedState, height: int) -> TrustedState:
        """From ``base`` to a later height, by way of headers between where too few validators are known."""
        ahead = [await self._fetch(height)]
        while ahead:
            signed, validators = ahead[-1]
            try:
                base = verify_header(base, signed, validators, now_ns=self._clock(), trusting_period_ns=self._period_ns)
            except OverlapTooSmall:
                ahead.append(await self._fetch((base.height + signed.header.height) // 2))
                continue
            ahead.pop()
            await self._remember(base)
        return base

    async def _backward(self, height: int) -> TrustedState:
        """From the lowest state above a height down to it, hash by hash."""
        above = [state for state in self._states.values() if state.height > height and state.header is not None]
        if height < 1 or not above:
            raise CannotVerify(f"header {height}", "there is no such block")
        state = min(above, key=lambda candidate: candidate.height)
        if state.height - height > STEPS_BACK_MAX:
            why = (
                f"{state.height - height} blocks lie between it and the next trusted one, {STEPS_BACK_MAX} are allowed"
            )
            raise CannotVerify(f"header {height}", why)
        while state.height > height:
            state = verify_previous(state, *await self._fetch(state.height - 1))
        await self._remember(state)
        return state

    async def _fetch(self, height: int) -> tuple[SignedHeader, ValidatorSet]:
        """A header, its commit and its validators; a set that we know already is not fetched again."""
        signed = await self._available(height, lambda: self._rpc.commit(height))
        for state in (self._newest, self._root):
            if state.validators.hash == signed.header.validators_hash:
                return signed, state.validators
        return signed, await self._available(height, lambda: self._rpc.validators(height))

    async def _available(self, height: int, ask: Callable[[], Awaitable[T]]) -> T:
        """An answer about a height, waiting a little for a node that is behind."""
        until = asyncio.get_running_loop().time() + self._rpc.patience.header
        while True:
            seen = self._rpc.heads.height
            try:
                return await ask()
            except HeightUnavailable as error:
                if isinstance(error, HeightPruned) or not await self._rpc.heads.beyond(seen, until):
                    raise CannotVerify(f"header {height}", str(error)) from error

    async def _remember(self, state: TrustedState) -> None:
        self._states[state.height] = state
        while len(self._states) > STATES_KEPT:  # The one verified longest ago, but neither end of the chain.
            kept = (self._root.height, self._newest.height, state.height)
            del self._states[next(height for height in self._states if height not in kept)]
        if state.height > self._newest.height:
            self._newest = state
            await self._save(state)

    async def _resume(self) -> None:
        """Begin from the saved checkpoint when there is a usable one, else from the root of trust."""
        assert self._checkpoints is not None
        saved = await asyncio.to_thread(self._checkpoints.load, self._root)
        if saved is not None and saved.height > self._root.height:
            await self._trust(saved)
        self._resumed = True

    async def _trust(self, saved: Checkpoint) -> None:
        try:
            signed, validators = await self._fetch(saved.height)
        except CannotVerify as error:  # The node pruned it or is behind: the root of trust may still do.
            _log.warning("cannot begin from the checkpoint: %s", error)
            return
        state = trust_checkpoint(self._root.chain_id, saved.height, saved.header_hash, signed, validators)
        self._saved_ns = saved.time_ns
        await self._remember(state)

    async def _save(self, newest: TrustedState) -> None:
        due = self._saved_ns is None or newest.time_ns - self._saved_ns >= _SAVE_EVERY_NS
        if self._checkpoints is not None and due:
            await asyncio.to_thread(self._checkpoints.save, self._root, newest)
            self._saved_ns = newest.time_ns
