"""Whose program this is and where its ledger is: from ``--ledger`` and ``--as`` to an open client or session.

A devnet keeps the keys of all its members, so a name is enough there. An organisation that made its keys in a devnet's
home but is no member yet has no profile: it borrows a member's, with its own name and keyring.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from .errors import CliError, leaving
from .options import DEVNET
from .output import Format, note, working
from .trust import OPTION, WARNING, node_is_believed, node_would_be_believed

if TYPE_CHECKING:
    from client_sdk.client import AcceptedTx, LedgerClient
    from client_sdk.reads.queries import Moment
    from client_sdk.secrets.keys import Keyring
    from client_sdk.session import Session
    from client_sdk.session.profile import Profile
    from contracts.kernel import Message, View
    from devnet.layout import Layout

T = TypeVar("T")
HUMAN: Final = "human"  # The names that a devnet, and `fedledger key create ORG`, give to the keys of a keyring.
WORKER: Final = "worker"


@dataclass(frozen=True)
class Access:
    """What the shared options say."""

    ledger: str
    who: str = ""
    passphrase_file: Path | None = None
    output: Format = Format.TXT

    def read(self, work: "Callable[[LedgerClient], Awaitable[T]]") -> T:
        """Read the ledger; no key is needed. Raises as ``client_sdk.session.open_client``."""
        from client_sdk.session import open_client

        return self._run(open_client(self.profile(), trust_node=_believed()), work, "reading the ledger")

    def ask(self, rule: "Callable[[View], T]") -> T:
        """What a function of the ledger answers on its newest proved state; no key is needed."""
        return self.read(lambda client: client.ask(rule))

    def judge(self, rule: "Callable[[View, Moment], T]") -> T:
        """As ``ask``, for a function that judges by the block whose header proves the state."""

        async def judged(client: "LedgerClient") -> T:
            async with client.at() as view:
                return await view.run(lambda state: rule(state, view.now))

        return self.read(judged)

    def act(self, key: str, work: "Callable[[LedgerClient, Keyring], Awaitable[T]]") -> T:
        """Act with a key of the organisation; ``key`` is its name unless ``--as`` has one."""
        from client_sdk.session import open_client, unlock

        _require_verification()
        organisation, name = self.actor(key)
        profile = self.profile(organisation)
        keyring = unlock(profile, self.passphrase_file)
        client = open_client(profile, keyring.signing(name))
        return self._run(client, lambda opened: work(opened, keyring), "asking the ledger")

    def session(self, key: str | None, work: "Callable[[Session], Awaitable[T]]", text: str) -> T:
        """Act with a key and the payload store; without a key, only read. ``text`` says meanwhile what is done."""
        from client_sdk.session import open_session

        if key is None:
            return self._run(open_session(self.profile(), None, trust_node=_believed()), work, text)
        _require_verification()
        organisation, name = self.actor(key)
        return self._run(open_session(self.profile(organisation), name, self.passphrase_file), work, text)

    def actor(self, key: str) -> tuple[str, str]:
        """Organisation and key that act. Raises keys.InvalidKeyName, CliError when nobody is named."""
        from client_sdk.secrets.keys import split_reference

        if "/" in self.who:
            return split_reference(self.who)
        return split_reference(f"{self.who or self._named_by_profile()}/{key}")

    def profile(self, organisation: str = "") -> "Profile":
        """The profile of an organisation, of ``--as`` when none is given, else of anybody who may read.

        Raises NoDevnet, ProfileInvalid, CliError for an organisation that nobody here knows.
        """
        from client_sdk.session.profile import load_profile

        name = organisation or self.who.partition("/")[0]
        layout = self.layout()
        if layout is None:
            return _own(load_profile(Path(self.ledger)), name)
        if name and layout.profile(name).is_file():
            return load_profile(layout.profile(name))
        members = _members(layout)
        if not name:
            return load_profile(layout.profile(members[0]))
        return _borrowed(layout, name, members)

    def layout(self) -> "Layout | None":
        """The devnet's home; None when ``--ledger`` is a profile file. Raises NoDevnet."""
        from client_sdk.session.homes import default_home
        from devnet.errors import NoDevnet
        from devnet.layout import Layout

        home = default_home() if self.ledger == DEVNET else Path(self.ledger).absolute()
        if home.is_file():
            return None
        layout = Layout(home)
        if not layout.manifest.is_file():
            raise NoDevnet(f"there is no devnet in {home}")
        return layout

    def _named_by_profile(self) -> str:
        if self.layout() is None:
            return self.profile().organisation
        hint = "Say whose key acts: --as ORG/KEY, for example --as hospital-a/human, or set FEDLEDGER_AS."
        raise CliError("NOBODY_ACTS", "this command signs, and nobody was named to sign", hint)

    def _run(self, opening: "AbstractAsyncContextManager[R]", work: "Callable[[R], Awaitable[T]]", text: str) -> T:
        import asyncio

        async def run() -> T:
            async with opening as opened:
                return await work(opened)

        with working(self.output, text):
            return asyncio.run(run())


R = TypeVar("R")


async def submit(client: "LedgerClient", message: "Message") -> "AcceptedTx":
    """Sign a message and wait for its result; Ctrl-C meanwhile says which transaction may still be decided."""
    from contracts.kernel import crypto

    signed = await client.sign(message)
    digest = crypto.sha256(signed.raw).hex()
    with leaving(f"The transaction is sent and may still be decided: fedledger tx show {digest}"):
        return await client.send(signed)


def _believed() -> bool:
    """Whether to believe the node; if so, a person is told."""
    believed = node_is_believed()
    if believed:
        note(WARNING)
    return believed


def _require_verification() -> None:
    if node_would_be_believed():
        raise CliError("USAGE", f"this command signs, and nothing is signed with {OPTION}", f"Leave {OPTION} out.")


def _members(layout: "Layout") -> list[str]:
    from devnet.errors import NoDevnet

    folder = layout.home / "members"
    names = sorted(path.parent.name for path in folder.glob("*/profile.toml"))
    if not names:
        raise NoDevnet(f"the devnet in {layout.home} was never started")
    return names


def _own(profile: "Profile", name: str) -> "Profile":
    if name not in ("", profile.organisation):
        hint = f"Act as {profile.organisation}, or name {name}'s own profile with --ledger."
        raise CliError("UNKNOWN_MEMBER", f"the profile belongs to {profile.organisation}, not {name}", hint)
    return profile


def _borrowed(layout: "Layout", name: str, members: list[str]) -> "Profile":
    from client_sdk.secrets.keys import keyring_path
    from client_sdk.session.profile import load_profile

    keyring = keyring_path(layout.member(name), name)
    if not keyring.is_file():
        hint = f"It has: {', '.join(members)}. For a new organisation, first 'fedledger key create {name}'."
        raise CliError("UNKNOWN_MEMBER", f"no organisation {name!r} keeps keys in {layout.home}", hint)
    return replace(load_profile(layout.profile(members[0])), organisation=name, keyring=keyring)
