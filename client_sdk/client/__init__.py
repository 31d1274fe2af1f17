"""The ledger as a member's program sees it: submit and know what became of it, read and know that it is true."""

from .client import LedgerClient, NoSigner, NotDecided, Receipt, Signed, Signer

__all__ = ["LedgerClient", "NoSigner", "NotDecided", "Receipt", "Signed", "Signer"]
