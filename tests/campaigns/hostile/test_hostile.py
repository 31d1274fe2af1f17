"""Hostile transactions against an application, briefly. `make hostile` does it for longer."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from abci_app.pool import proposals
from campaigns.harness import consortium
from campaigns.harness.chain import Chain
from campaigns.hostile import __main__ as command
from campaigns.hostile import forgery, in_process, sayings
from campaigns.hostile.forger import Forger
from campaigns.hostile.in_process import Besieged, besiege
from campaigns.hostile.kinds import EXPECTED, Attack, Kind
from campaigns.hostile.siege import Tally
from campaigns.simulation.members import ROLES_OF, genesis, ledger
from client_sdk.secrets.keys import SigningKey
from contracts import identity, transition
from contracts.kernel import crypto, envelope
from contracts.kernel.types import Purpose
from contracts.registry import RULES
from contracts.rulebook import Rules
from contracts.transition import Transaction
from tests import effort

ATTACKS = effort.examples(2_000)
SEED = 1


@pytest.fixture(scope="module")
def siege() -> tuple[Tally, Any]:
    return besiege(SEED, ATTACKS)


def test_no_attack_stops_a_node_or_changes_its_state_and_each_is_refused_for_its_reason(siege) -> None:
    tally, counts = siege
    assert tally.faults == []
    assert tally.attacks == ATTACKS
    assert counts["hostile blocks"] == ATTACKS / in_process.ATTACKS_PER_BLOCK
    assert 0 < counts["hostile proposals accepted"] < counts["hostile blocks"]


def test_every_kind_of_attack_is_made_and_the_consortium_goes_on_meanwhile(siege) -> None:
    tally, counts = siege
    assert [kind for kind in Kind if not tally.outcomes[kind]] == []
    assert counts["honest transactions accepted"] > 50
    codes = {code for outcomes in tally.outcomes.values() for code in outcomes}
    assert codes >= {str(code) for code in (*range(2, 11), 101, 102)}
    assert str(transition.INTERNAL_ERROR) not in codes


def test_every_kind_is_expected_to_be_refused_by_codes_that_exist() -> None:
    for kind in Kind:
        codes = [code for code in EXPECTED[kind] if code in RULES.refusals]
        assert codes
        assert not {0, transition.INTERNAL_ERROR} & set(EXPECTED[kind])


def test_attackers_say_every_message_there_is_well_and_also_as_no_state_allows_it() -> None:
    rng, lab, here = in_process.stream(SEED, "sayings"), consortium.LAB, ledger().genesis
    said, known = sayings.messages(rng, lab.human, lab.worker, here), set(RULES.messages.values())
    assert {type(message) for message in said} == known
    assert {type(wrong.message) for wrong in sayings.wrong(here)} == known
    for wrong in sayings.wrong(here):
        role = wrong.message.role
        assert all(role is None or role in ROLES_OF[member] for member in wrong.members), wrong


# A siege finds what it is there to find ---------------------------------------------------------


def _accepts_everybody(view: Any, public: bytes, height: int) -> identity.Key:
    key = identity.KEYS.get(view, public)
    if key is None:
        raise identity.UnknownKey(key=public)
    return replace(key, revoked_from=None)


def _no_replay(*_: Any) -> bool:
    return False


def _forgetful(handlers: Any) -> Any:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    return dict.fromkeys(handlers, broken)


FORGETFUL = _forgetful(RULES.newest.handlers)


@pytest.mark.parametrize(
    ("place", "name", "planted", "found"),
    [
        (transition.identity, "require_good_key", _accepts_everybody, "a revoked key"),
        (transition.replay, "is_seen", _no_replay, "a replay"),
        (Rules, "handlers", property(lambda _: FORGETFUL), "against the rules"),
        (Transaction, "is_authentic", True, "a signature that does not hold"),
        (proposals, "fault", lambda *_: None, "a proposal is judged"),
    ],
    ids=["revocation-ignored", "replays-forgotten", "handler-fails", "signature-ignored", "any-proposal-accepted"],
)
def test_a_planted_bug_is_found(monkeypatch: pytest.MonkeyPatch, place, name, planted, found) -> None:
    besieged = Besieged(SEED)
    monkeypatch.setattr(place, name, planted)
    besieged.run(600)
    assert any(found in fault for fault in besieged.tally.faults), besieged.tally.faults[:3]


def test_a_refusal_without_facts_or_for_another_reason_is_a_fault() -> None:
    tally, attack = Tally(), Attack(Kind.NOISE, b"noise")
    tally.refused(attack, 2, b"\xa0", "MALFORMED_TRANSACTION")
    assert tally.faults == []
    for code, data, log in ((3, b"\xa0", "WRONG_CHAIN"), (0, b"\x80", ""), (2, b"", "log"), (2, b"\xa0", "")):
        tally.refused(attack, code, data, log)
    assert len(tally.faults) == 4


# Forgery ----------------------------------------------------------------------------------------


def test_one_statement_has_many_valid_signatures_and_one_identity() -> None:
    chain = Chain(genesis())
    forger = Forger(in_process.stream(SEED, "forger"), chain.view, 0)
    signer, raw = forger._fresh()
    again = forgery.signed_again(signer.seed, raw, b"salt")
    assert again != raw
    assert Transaction(again).is_authentic
    assert envelope.parse(again).identity == envelope.parse(raw).identity
    assert not Transaction(forgery.malleated(raw)).is_authentic
    assert not Transaction(forgery.out_of_context(signer.seed, raw)).is_authentic


def test_what_is_forged_of_the_right_parts_is_what_a_client_seals() -> None:
    seed = crypto.sha256(b"seed")
    body, nonce = {"approve": True, "proposal": 1}, bytes(16)
    sealed = envelope.seal(
        SigningKey("worker", Purpose.WORKLOAD, seed),
        ledger(),
        tag="governance/vote",
        body=body,
        nonce=nonce,
        valid_until=9,
    )
    payload = forgery.plain(forgery.content("governance/vote", body, nonce, 9))
    assert forgery.signed(seed, forgery.header(seed, ledger()), payload) == sealed


def test_an_attack_that_cannot_be_made_yet_says_so() -> None:
    forger = Forger(in_process.stream(SEED, "forger"), Chain(genesis()).view, 0)
    with pytest.raises(LookupError, match="REPLAY"):
        forger.attack(Kind.REPLAY)
    assert forger.attack(Kind.NOISE).kind is Kind.NOISE


# The command ------------------------------------------------------------------------------------


def test_the_command_reports_what_it_held_against_the_ledger(tmp_path, monkeypatch, capsys) -> None:
    report = tmp_path / "report.json"
    arguments = ["--in-process", "--count", "300", "--report", str(report)]
    assert command.main(arguments) == 0
    assert json.loads(report.read_text())["attacks"] == 300
    fault = Tally(faults=["something"])
    monkeypatch.setattr(command.real_node, "besiege", lambda *_: asyncio.sleep(0, fault.described()))
    assert command.main(["--count", "1"]) == 1
    assert "something" in capsys.readouterr().out
