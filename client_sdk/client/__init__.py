"""The ledger as a member's program sees it: submit and know what became of it, read and know that it is true.

``client`` is all of that; ``standstill`` notices that the chain makes no blocks while a transaction waits.
"""

from contracts.kernel.envelope import Signer

from .client import AcceptedTx, LedgerClient, NoSigner, NotDecided, Signed

__all__ = ["AcceptedTx", "LedgerClient", "NoSigner", "NotDecided", "Signed", "Signer"]
