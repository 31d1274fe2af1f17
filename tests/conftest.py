"""Options and fixtures for every test."""

import asyncio
import inspect
import logging
import os
from collections.abc import Iterator

import hypothesis
import pytest

from tests import effort, vectors_io
from tests.vectors_io import VectorWriter

# Tests run beside each other, a process for each core: torch's threads in each would only get in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shared machine makes any deadline a coin toss, and also the check that examples are drawn fast enough; what matters
# is bounded by the number of examples. CI repeats the same examples, so that what lands does not depend on luck;
# everybody else draws new ones.
hypothesis.settings.register_profile(
    "fedledger",
    deadline=None,
    derandomize="CI" in os.environ,
    max_examples=effort.examples(100),
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("fedledger")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Coroutine tests run on an event loop of their own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}
    asyncio.run(pyfuncitem.obj(**arguments))
    return True


@pytest.fixture(autouse=True)
def _loggers_as_before() -> Iterator[None]:
    """Campaigns and commands quieten our loggers, which are the process's: the next test finds them as they were."""
    loggers = [logging.getLogger(name) for name in ("abci_app", "client_sdk")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-vectors",
        action="store_true",
        help="write the vectors of tests marked `vectors` anew instead of comparing them",
    )


@pytest.fixture
def vector(request: pytest.FixtureRequest) -> VectorWriter:
    """Decides one transaction and records it under tests/vectors. The test must be marked `vectors`."""
    assert request.node.get_closest_marker("vectors"), "mark the test `vectors`"
    write = bool(request.config.getoption("--write-vectors"))
    return vectors_io.writer_for(request.function, request.module.__name__, write=write)
