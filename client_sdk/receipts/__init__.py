"""Receipts: proof that the ledger accepted a transaction or held a value, in one file that is checked offline.

A profile of RFC 9942 (COSE Receipts); a transaction with its receipt is a transparent statement of RFC 9943. The
profile, and where it departs, is ``docs/receipts.md``. ``errors`` names what can be wrong, ``parts`` what a receipt
holds, ``cbor``, ``blocks`` and ``form`` are its bytes, ``verify`` and ``trust`` judge it without sockets or a clock,
``export`` makes one from a node's answers.
"""

from .errors import NoReceipt, ReceiptError, ReceiptInvalid, ReceiptNotTrusted, ReceiptUnreadable
from .form import decode, encode
from .parts import Acceptance, Holding, Receipt, SignedBlock
from .trust import CheckpointTrust, GenesisTrust, Trust, ValidatorsTrust
from .verify import Proven, verify

__all__ = [
    "Acceptance",
    "CheckpointTrust",
    "GenesisTrust",
    "Holding",
    "NoReceipt",
    "Proven",
    "Receipt",
    "ReceiptError",
    "ReceiptInvalid",
    "ReceiptNotTrusted",
    "ReceiptUnreadable",
    "SignedBlock",
    "Trust",
    "ValidatorsTrust",
    "decode",
    "encode",
    "verify",
]
