"""Where members' profiles lie: ``members/ORG/profile.toml`` in a home, and which home is meant when none is named.

A home is a folder. What else is in it, and who writes it, is not this package's business: a devnet keeps a whole
network in its home, an organisation's own home may hold nothing but its profile and keys.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

HOME_VARIABLE: Final = "FEDLEDGER_HOME"
_MARK: Final = "manifest.toml"  # What a home has from the moment it is made.


def default_home(environment: Mapping[str, str] = os.environ, start: Path | None = None) -> Path:
    """The home that ``:devnet:`` means: where FEDLEDGER_HOME says, else the nearest at or above the working directory.

    Where there is none yet, it is ``.fedledger/devnet`` in the working directory.
    """
    if environment.get(HOME_VARIABLE):
        return Path(environment[HOME_VARIABLE]).absolute() / "devnet"
    here = (start or Path.cwd()).absolute()
    candidates = [folder / ".fedledger" / "devnet" for folder in (here, *here.parents)]
    return next((home for home in candidates if (home / _MARK).is_file()), candidates[0])


def member_folder(home: Path, organisation: str) -> Path:
    """An organisation's own folder in a home."""
    return home / "members" / organisation


def profile_path(home: Path, organisation: str) -> Path:
    """Where an organisation's profile is in a home."""
    return member_folder(home, organisation) / "profile.toml"
