"""From a profile to everything that a member's program holds open: ledger, payload store, keys, journal."""

from .opening import ENCRYPTION, Session, WrongGenesis, genesis_document, open_client, open_session, open_store, unlock
from .profile import DEVNET, Profile, ProfileInvalid, find_profile, load_profile, write_profile

__all__ = [
    "DEVNET",
    "ENCRYPTION",
    "Profile",
    "ProfileInvalid",
    "Session",
    "WrongGenesis",
    "find_profile",
    "genesis_document",
    "load_profile",
    "open_client",
    "open_session",
    "open_store",
    "unlock",
    "write_profile",
]
