"""Every class of errors, of every package: it states its kind, its hint can be followed, and users can import it."""

import ast
import re
import traceback
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from inspect import isclass
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import pytest

import fedledger
from cli.errors import OWN, CliError, Exit, failure_of, status_of
from client_sdk.errors import Kind, SdkError
from client_sdk.payloads.errors import StoreUnavailable
from client_sdk.rpc import NodeUnavailable
from client_sdk.secrets.private_files import ExposedFile
from contracts.kernel import Rejected
from contracts.kernel.codec import Malformed
from contracts.privacy_budget import BudgetExceeded
from contracts.registry import RULES
from devnet.errors import ProcessNotRunning
from learning.inputs import InvalidInputs
from tests import tidy
from tests.cli.test_help import commands

PACKAGES = ("abci_app", "cli", "client_sdk", "contracts", "devnet", "learning", "services")
# Errors without a kind of their own, each with the reason. Private ones need none.
SIGNALS = {
    "abci_app.store.pages.Overtaken": "makes a reader read again",
    "cli.errors.Interrupted": "is Ctrl-C, whose exit status is no kind's",
    "client_sdk.documents.strict_toml.TomlInvalid": "becomes the caller's, who knows the file's name",
    "client_sdk.errors.SdkError": "is the root: each package below it states its kind",
    "client_sdk.payloads.dag_pb.MalformedNode": "becomes PayloadMalformed, with the CID",
    "client_sdk.payloads.varint.BadVarint": "becomes InvalidCid, MalformedNode or MalformedCar",
    "client_sdk.payloads.varint.Truncated": "as BadVarint",
    "contracts.kernel.varint.BadVarint": "becomes ProofInvalid, or the framing's own",
    "client_sdk.secrets.age_passphrase.CannotOpen": "becomes the keyring's own, with the file's name",
    "client_sdk.secrets.age_passphrase.Damaged": "as CannotOpen",
    "client_sdk.secrets.age_passphrase.WrongPassphrase": "as CannotOpen",
}


def classes() -> Iterator[type[BaseException]]:
    """Every class of errors that the packages declare, where it is declared."""
    for package in PACKAGES:
        for found in walk_packages(import_module(package).__path__, f"{package}."):
            if found.name.endswith("__main__") and package != "abci_app":
                continue
            if found.name == "learning.torch_model" and find_spec("torch") is None:
                continue
            for value in vars(import_module(found.name)).values():
                if isclass(value) and issubclass(value, BaseException) and value.__module__ == found.name:
                    yield value


def qualified(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


ERRORS = sorted(dict.fromkeys(classes()), key=qualified)
PUBLIC = [kind for kind in ERRORS if not kind.__name__.startswith("_") and qualified(kind) not in SIGNALS]


# --- kinds ---


@pytest.mark.parametrize("kind", PUBLIC, ids=qualified)
def test_every_error_states_one_of_the_six_kinds(kind):
    assert kind.kind in tuple(Kind)
    assert status_of(kind) is not None


def test_every_error_of_the_client_the_devnet_and_the_services_has_the_one_root():
    ours = [kind for kind in PUBLIC if kind.__module__.startswith(("client_sdk.", "devnet.", "services."))]
    assert ours
    assert [qualified(kind) for kind in ours if not issubclass(kind, SdkError)] == []


def test_every_signal_without_a_kind_has_a_reason_and_states_none():
    known = {qualified(kind): kind for kind in ERRORS}
    for name, reason in SIGNALS.items():
        assert reason
        assert name in known, f"{name} is gone: list it no more"
        assert not hasattr(known[name], "kind"), f"{name} states a kind: list it no more"


def test_an_exit_status_of_its_own_is_one_that_is_documented():
    own = {kind.__name__: kind.exit_status for kind in PUBLIC if getattr(kind, "exit_status", None) is not None}
    assert own == {"ReceiptInvalid": 6, "ReceiptUnreadable": 7, "ReceiptNotTrusted": 8}
    assert all(status_of(kind) is Exit(own[kind.__name__]) for kind in PUBLIC if kind.__name__ in own)


# --- hints ---


@pytest.mark.parametrize(
    "error",
    [
        NodeUnavailable(["http://h:1"], ["refused"]),
        ProcessNotRunning("validator-2"),
        StoreUnavailable("s", "full", hint="Free some space."),
        ExposedFile(Path("x"), "others may use it", "Run: chmod 600 x"),
        CliError("NO_CONSENT", "nobody consented", "Add --yes."),
        BudgetExceeded(account="a", spent=1, wanted=2, limit=1),
        Malformed("field", "too long"),
        InvalidInputs("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_traceback_says_what_to_do_once_and_as_the_command_line_says_it(error):
    shown = "".join(traceback.format_exception(error))
    assert shown.count("What to do: ") == 1
    assert f"What to do: {error.hint}\n" in shown
    assert failure_of(error).hint == error.hint


def test_an_error_without_a_hint_has_no_empty_advice_in_its_traceback():
    class Plain(SdkError):
        kind = Kind.REFUSED

    assert "What to do" not in "".join(traceback.format_exception(Plain("x")))


def test_a_hint_is_given_to_the_constructor_which_notes_it():
    for path in tidy.files(".py"):
        name = str(path.relative_to(tidy.ROOT))
        if name.startswith(PACKAGES) and name not in ("client_sdk/errors.py", "cli/errors.py"):
            assert "self.hint =" not in path.read_text(encoding="utf-8"), name


def spellings(command: Any) -> set[str]:
    return {"--help", *(each for one in command.params for each in (*one.opts, *one.secondary_opts))}


COMMANDS = commands()
FLAGS = set().union(*map(spellings, COMMANDS.values()))
TARGETS = set(re.findall(r"^([a-z0-9-]+):", (tidy.ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def misnamed(text: str) -> Iterator[str]:
    """What a text tells people to type, and that is not there."""
    for quote, typed in re.findall(r"(['`]?)(?<![\w./-])fedledger ([a-z][^'`;.:,()\n]*)", text):
        words = typed.split()
        path = f"fedledger {words[0]}"
        if path not in COMMANDS:
            if quote:  # Without quotes it may be prose: "the fedledger application".
                yield path
            continue
        if hasattr(COMMANDS[path], "list_commands") and len(words) > 1 and not words[1].startswith("-"):
            path = f"{path} {words[1]}"
        if path not in COMMANDS:
            yield path
            continue
        known = spellings(COMMANDS[path])
        yield from (f"{path}: {flag}" for flag in re.findall(r"(?<!\S)--[a-z-]+", typed) if flag not in known)
    for noun, verb in re.findall(r"['`](?!fedledger)([a-z]+) ([a-z0-9-]+)['`]", text):  # 'round list', after the first.
        there = verb in TARGETS if noun == "make" else f"fedledger {noun} {verb}" in COMMANDS
        if not there and (noun == "make" or f"fedledger {noun}" in COMMANDS):
            yield f"{noun} {verb}"


@pytest.mark.parametrize("kind", [kind for kind in ERRORS if getattr(kind, "hint", "")], ids=qualified)
def test_what_the_hint_of_a_class_tells_people_to_type_is_there(kind):
    assert list(misnamed(kind.hint)) == []
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", kind.hint)) <= FLAGS


def texts(path: Path) -> Iterator[str]:
    """The texts in a source; what is filled in at run time stands as X."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("package", PACKAGES)
def test_what_any_text_of_a_package_tells_people_to_type_is_there(package):
    found = {
        (str(path.relative_to(tidy.ROOT)), wrong)
        for path in tidy.files(".py", root=tidy.ROOT / package)
        for text in texts(path)
        for wrong in misnamed(text)
    }
    assert found == set()


def test_a_command_or_a_flag_that_is_not_there_is_found():
    assert list(misnamed("Run 'fedledger devnet upp'.")) == ["fedledger devnet upp"]
    assert list(misnamed("Run `fedledger ledger show`.")) == ["fedledger ledger"]
    assert list(misnamed("Run 'fedledger devnet up --rest'.")) == ["fedledger devnet up: --rest"]
    assert list(misnamed("Look with 'fedledger tx show', 'round lst'.")) == ["round lst"]
    assert list(misnamed("Run 'make trian-deps'.")) == ["make trian-deps"]
    assert list(misnamed("Run 'make e2ee'.")) == ["make e2ee"]
    assert list(misnamed("Run 'make e2e'.")) == []
    assert list(misnamed("Start it: fedledger devnet up --reset")) == []


# --- the façade ---


def catchable() -> list[type[BaseException]]:
    """What a program that uses the client may meet: its own errors, and every refusal of the ledger."""
    own = [kind for kind in PUBLIC if issubclass(kind, SdkError) and kind.__module__.startswith("client_sdk.")]
    refusals = [kind for kind in RULES.refusals.values() if kind.__module__.startswith("contracts.")]
    return [*own, *refusals, SdkError, Rejected, Malformed]


def test_no_two_errors_that_a_user_may_catch_have_one_name():
    names = sorted(kind.__name__ for kind in catchable())
    assert names == sorted(set(names))


@pytest.mark.parametrize("kind", catchable(), ids=qualified)
def test_every_error_that_a_user_may_catch_is_a_name_of_fedledger(kind):
    assert kind.__name__ in fedledger.__all__
    assert getattr(fedledger, kind.__name__) is kind
    assert kind.__name__ in fedledger._HOMES[kind.__module__], "it is named with the module that declares it"


def test_a_type_checker_is_told_of_the_same_names_from_the_same_modules():
    tree = ast.parse(Path(fedledger.__file__).read_text(encoding="utf-8"))
    (checked,) = [node for node in tree.body if isinstance(node, ast.If)]
    told = {
        node.module: tuple(name.name for name in node.names)
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
    }
    assert told == fedledger._HOMES


# --- what the command line alone knows ---


def test_a_failure_of_the_command_line_states_a_kind_and_none_is_a_bug():
    for name, (kind, meaning) in OWN.items():
        assert kind in tuple(Kind), name
        assert kind is not Kind.BUG
        assert meaning


def test_every_name_that_the_command_line_raises_is_declared():
    raised = {
        name
        for path in tidy.files(".py", root=tidy.ROOT / "cli")
        for name in re.findall(r'CliError\(\s*"([A-Z_]+)"', path.read_text(encoding="utf-8"))
    }
    assert raised <= OWN.keys()
    assert OWN.keys() - raised <= {"RECORDS_UNREADABLE", "USAGE"}
