"""The one place where exceptions become names, hints and exit statuses."""

import asyncio
import re
from pathlib import Path

import pytest

from abci_app.inspection.diff_state import NoCommonHeight
from abci_app.store.interface import StoreLocked
from abci_app.store.recovery import Damaged
from cli import errors, reference, units
from cli.errors import OWN, STATUSES, CliError, Exit, Interrupted, failure_of, leaving
from cli.nouns import explain
from client_sdk.client import NotDecided
from client_sdk.errors import Kind
from client_sdk.payloads.errors import PayloadNotFound
from client_sdk.reads.refusals import LedgerBug, PoolShareFull
from client_sdk.receipts.errors import Part, ReceiptNotTrusted
from client_sdk.rpc import NodeUnavailable
from client_sdk.secrets.keys import KeyNotFound, WrongPassphrase
from client_sdk.secrets.passphrase import NoPassphrase
from client_sdk.secrets.private_files import ExposedFile
from contracts.identity import KeyIsRevoked, UnknownOrganisation
from contracts.kernel.codec import Malformed
from contracts.kernel.state import InvariantBroken
from contracts.privacy_budget import BudgetExceeded
from contracts.registry import RULES
from contracts.rounds import PhaseOver
from devnet.errors import HomeDiffers, NoDevnet
from learning.local_training import InvalidRecords

EXCEEDED = BudgetExceeded(account="dataset", spent=3_100_000_000, wanted=3_950_000_000, limit=3_800_000_000)


def test_every_kind_has_its_status_and_no_status_is_without_a_meaning():
    assert STATUSES.keys() == set(Kind)
    told = re.findall(r"^(\d+)  ", errors.__doc__, re.MULTILINE)
    assert sorted(map(int, told)) == sorted(Exit)
    rows = re.findall(r"^\| (\d+) \|", reference.markdown(), re.MULTILINE)
    assert rows == told


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UnknownOrganisation(organisation="x"), Exit.REFUSED),
        (HomeDiffers("x"), Exit.REFUSED),
        (PayloadNotFound("cid", "x"), Exit.REFUSED),
        (InvalidRecords("x"), Exit.REFUSED),
        (PermissionError(13, "Permission denied", "f"), Exit.NO_ACCESS),
        (NodeUnavailable(["http://h:1"], ["refused"]), Exit.NO_ACCESS),
        (WrongPassphrase("x"), Exit.NO_ACCESS),
        (KeyNotFound("x"), Exit.NO_ACCESS),
        (NoPassphrase(), Exit.NO_ACCESS),
        (ExposedFile(Path("x"), "others may use it", "chmod"), Exit.NO_ACCESS),
        (NoDevnet("x"), Exit.NO_ACCESS),
        (NotDecided("x"), Exit.TIMEOUT),
        (TimeoutError(), Exit.TIMEOUT),
        (Malformed("dataset", "too long"), Exit.USAGE),
        (CliError("UNKNOWN_CODE", "x", "y"), Exit.USAGE),
        (PoolShareFull(organisation="x"), Exit.TIMEOUT),
        (ReceiptNotTrusted(Part.TRUST, "x"), Exit.RECEIPT_NOT_TRUSTED),
        (StoreLocked("x", "7"), Exit.NO_ACCESS),
        (Damaged("x"), Exit.NO_ACCESS),
        (NoCommonHeight("x"), Exit.REFUSED),
        (InvariantBroken("x"), Exit.BUG),
        (LedgerBug("x"), Exit.BUG),
        (ZeroDivisionError("x"), Exit.BUG),
        (KeyboardInterrupt(), Exit.INTERRUPTED),
    ],
)
def test_every_kind_of_failure_has_its_status_and_a_hint(error, status):
    failure = failure_of(error)
    assert failure.status is status
    assert failure.error_code.isupper()
    assert failure.message
    assert failure.hint, "nobody is left without a next step"


def test_a_refusal_is_shown_with_its_meaning_its_facts_in_their_units_and_what_to_do():
    text = failure_of(EXCEEDED).text()
    assert text.splitlines() == [
        f"BUDGET_EXCEEDED (401): {BudgetExceeded.meaning()}",
        "  account: dataset",
        "  spent: ε = 3.10",
        "  wanted: ε = 3.95",
        "  limit: ε = 3.80",
        f"What to do: {BudgetExceeded.hint}",
    ]


def test_the_envelope_of_a_refusal_has_the_ledgers_own_numbers():
    assert failure_of(EXCEEDED).envelope() == {
        "schema_version": 1,
        "status": "error",
        "error_code": "BUDGET_EXCEEDED",
        "code": 401,
        "message": BudgetExceeded.meaning(),
        "hint": BudgetExceeded.hint,
        "facts": {"account": "dataset", "spent": 3_100_000_000, "wanted": 3_950_000_000, "limit": 3_800_000_000},
    }


def test_keys_times_and_heights_are_told_as_people_compare_them():
    revoked = failure_of(KeyIsRevoked(key=bytes(32), revoked_from=1200)).text()
    assert "  key: did:key:z6Mk" in revoked
    assert "  revoked_from: block 1200" in revoked
    late = failure_of(PhaseOver(until=1_700_000_000_000, now=1_700_000_060_000)).text()
    assert "  until: 2023-11-14 22:13:20 UTC" in late


def test_units_are_declared_for_refusals_and_facts_that_exist():
    names = {kind.__dict__["code"]: errors.error_code(kind) for kind in RULES.refusals.values()}
    assert {refusal for refusal, _ in units.UNITS} - {"*"} <= set(names.values())


def test_text_from_elsewhere_cannot_steer_the_terminal():
    text = failure_of(UnknownOrganisation(organisation="\x1b[2Jgone")).text()
    assert "\x1b" not in text
    assert "\\x1b[2Jgone" in text


def test_a_bug_asks_for_a_report_and_shows_no_traceback_unless_asked(run, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(explain, "_near", broken)
    quiet = run("explain", "nonsense")
    assert quiet.status == Exit.BUG
    assert "--debug" in quiet.err
    assert "Traceback" not in quiet.err
    assert "Traceback" in run("explain", "nonsense", "--debug").err
    assert run("explain", "nonsense", "--format", "json").envelope["error_code"] == "ZERO_DIVISION_ERROR"


def test_ctrl_c_says_what_it_left():
    with pytest.raises(Interrupted) as caught, leaving("Run it again."):
        raise KeyboardInterrupt
    assert failure_of(caught.value).hint == "Run it again."
    assert failure_of(caught.value).status == 130


def test_the_inner_most_thing_left_behind_is_told():
    async def work():
        with leaving("outer"), leaving("inner"):
            raise asyncio.CancelledError

    with pytest.raises(Interrupted, match="inner"):
        asyncio.run(work())


def test_a_wrong_argument_is_answered_with_the_commands_help(run):
    for arguments, path in [
        (("org", "shw"), "fedledger org"),
        (("nonsense",), "fedledger"),
        (("tx", "show"), "fedledger tx show"),
        (("round", "list", "t", "--round", "x"), "fedledger round list"),
        (("budget", "show", "--format", "xml"), "fedledger budget show"),
    ]:
        ran = run(*arguments)
        assert ran.status == Exit.USAGE
        assert ran.out == ""
        assert f"'{path} --help'" in ran.err
    assert "Did you mean 'show'?" in run("org", "shw").err
    assert run("org", "shw", "--format", "json").envelope["error_code"] == "USAGE"


def test_every_name_that_is_shown_can_be_explained(run):
    known = {row["name"] for row in explain.catalogue()}
    assert {"BUDGET_EXCEEDED", "INTERNAL_ERROR", "NODE_UNAVAILABLE", "WRONG_PASSPHRASE", "VERIFICATION_FAILED"} <= known
    assert {"NO_DEVNET", "INVALID_RECORDS", "MALFORMED", "RECEIPT_INVALID", "INTERRUPTED"} <= known
    assert OWN.keys() <= known
    for row in explain.catalogue():
        assert row["meaning"], row
        assert run("explain", row["name"].lower()).status == 0


def test_explaining_takes_a_number_or_a_name(run):
    by_number = run("explain", "401", "--format", "json").data
    assert by_number == run("explain", "budget_exceeded", "--format", "json").data
    assert by_number["contract"] == "contract privacy_budget"
    assert BudgetExceeded.hint in run("explain", "401").out


def test_an_unknown_code_suggests_what_was_meant(run):
    ran = run("explain", "BUDGET_EXCEDED")
    assert ran.status == Exit.USAGE
    assert "Did you mean BUDGET_EXCEEDED?" in ran.err
    assert "'fedledger explain'" in run("explain", "99999").err
