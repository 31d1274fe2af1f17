"""Coroutine tests run on an event loop of their own."""

from tests.abci_app.conftest import pytest_pyfunc_call

__all__ = ["pytest_pyfunc_call"]
