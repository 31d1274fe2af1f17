"""What is journalled is there whole, is its owner's alone, is never trained over, and is destroyed when told to."""

from dataclasses import replace
from pathlib import Path

import pytest

from campaigns.harness.consortium import DATASET, HOSPITAL_A, HOSPITALS, TASK, reserve
from client_sdk.training.journal import Entry, Journal, JournalDamaged
from tests import local_task


def entry(number: int = 1) -> Entry:
    return Entry(TASK, number, DATASET, b"envelope", 7, b"payload")


def test_a_journal_gives_back_what_it_kept_and_destroys_what_it_is_told_to(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    assert journal.find(TASK, 1, DATASET) is None
    journal.keep(Entry.started(TASK, 1, DATASET))
    journal.keep(entry())
    assert Journal(tmp_path / "journal").find(TASK, 1, DATASET) == entry()
    assert journal.find(TASK, 2, DATASET) is None
    assert journal.find(TASK, 1, "another") is None
    journal.destroy(TASK, 1, DATASET)
    journal.destroy(TASK, 1, DATASET)
    assert journal.find(TASK, 1, DATASET) is None


def test_an_entry_says_whether_its_training_came_to_an_end() -> None:
    assert entry().is_trained
    assert not Entry.started(TASK, 1, DATASET).is_trained


def test_a_journal_tells_the_rounds_of_a_task_and_a_dataset_in_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    assert journal.rounds(TASK, DATASET) == []
    for number in (12, 2, 100):
        journal.keep(entry(number))
    journal.keep(replace(entry(7), dataset=f"x-{DATASET}"))
    journal.keep(replace(entry(8), task="another"))
    assert journal.rounds(TASK, DATASET) == [2, 12, 100]
    assert journal.rounds(TASK, f"x-{DATASET}") == [7]


def test_an_entry_is_whole_or_not_there_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "journal")
    journal.keep(entry())

    def full_disk(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        journal.keep(replace(entry(), envelope=b"signed anew"))
    assert journal.find(TASK, 1, DATASET) == entry()


def test_a_damaged_entry_is_reported_and_never_trained_over(tmp_path: Path) -> None:
    world = local_task.opened(tmp_path)
    world.open_round()
    for hospital in HOSPITALS:
        world.chain.submit(hospital, reserve())
    taking_part = world.participant(HOSPITAL_A)
    taking_part.journal.keep(entry())
    (file,) = (world.folder / HOSPITAL_A.name / "journal" / TASK).iterdir()
    file.write_bytes(file.read_bytes()[:-3])
    trainer = world.trainer(HOSPITAL_A)
    with pytest.raises(JournalDamaged, match=file.name):
        world.run(taking_part.contribute(1, trainer))
    assert trainer.trained == 0


def test_a_journal_is_its_owner_s_alone(tmp_path: Path) -> None:
    Journal(tmp_path / "journal").keep(entry())
    assert (tmp_path / "journal" / TASK).stat().st_mode & 0o077 == 0
