"""A ballot that was sealed can be opened after any death, and says what was sealed."""

from dataclasses import replace
from pathlib import Path

import pytest

from campaigns.harness import consortium
from campaigns.harness.consortium import HOSPITAL_A, TASK, candidate, open_ballot, salt_of, seal
from contracts.kernel import bitmap
from services.rounds.ballot_journal import BallotDamaged, BallotJournal, SealedBallot

AGREED = bitmap.of(range(4))


def ballot(number: int = 1, agreed: bytes = AGREED) -> SealedBallot:
    named = candidate(consortium.agreed())
    return SealedBallot(TASK, number, agreed, salt_of(HOSPITAL_A), named, 90, b"the model")


def test_a_journalled_ballot_seals_and_opens_as_the_ledger_takes_it() -> None:
    named = candidate(consortium.agreed())
    assert ballot().seal(HOSPITAL_A.name) == seal(HOSPITAL_A, named)
    assert ballot().opening() == open_ballot(HOSPITAL_A, named)
    none = replace(named, artefact=None)
    nothing = replace(ballot(), candidate=none, correct=0, model=b"")
    assert nothing.seal(HOSPITAL_A.name) == seal(HOSPITAL_A, none, correct=0)
    assert nothing.opening() == open_ballot(HOSPITAL_A, none, correct=0)


def test_a_ballot_is_found_for_its_round_and_its_set_only(tmp_path: Path) -> None:
    journal = BallotJournal(tmp_path / "ballots")
    assert journal.find(TASK, 1, AGREED) is None
    journal.keep(ballot())
    assert BallotJournal(tmp_path / "ballots").find(TASK, 1, AGREED) == ballot()
    assert journal.find(TASK, 2, AGREED) is None
    assert journal.find(TASK, 1, bitmap.of(range(3))) is None
    assert journal.find("another", 1, AGREED) is None


def test_the_next_ballot_takes_the_place_of_the_last(tmp_path: Path) -> None:
    journal = BallotJournal(tmp_path / "ballots")
    journal.keep(ballot())
    anew = replace(ballot(), agreed=bitmap.of(range(3)), salt=b"\1" * 32)
    journal.keep(anew)
    assert journal.find(TASK, 1, AGREED) is None
    assert journal.find(TASK, 1, anew.agreed) == anew


def test_a_damaged_ballot_is_reported(tmp_path: Path) -> None:
    journal = BallotJournal(tmp_path / "ballots")
    journal.keep(ballot())
    (file,) = (tmp_path / "ballots").iterdir()
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(BallotDamaged, match=file.name):
        journal.find(TASK, 1, AGREED)


def test_a_ballot_is_its_owner_s_alone(tmp_path: Path) -> None:
    """Who reads a sealed ballot could echo it."""
    BallotJournal(tmp_path / "ballots").keep(ballot())
    assert (tmp_path / "ballots").stat().st_mode & 0o077 == 0
