"""Splits by hash and non-IID shards."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.partition import PartitionRefused, dirichlet_shards, record_bytes, split_four_ways

RECORDS = [f"record {i}".encode() for i in range(2000)]


def members(records: list[bytes], salt: bytes = b"") -> list[set[bytes]]:
    split = split_four_ways(records, salt)
    return [{records[i] for i in part} for part in (split.train, split.reference, split.canary, split.test)]


def test_every_record_is_in_exactly_one_part_and_parts_have_their_shares() -> None:
    parts = members(RECORDS)
    assert set.union(*parts) == set(RECORDS)
    assert sum(map(len, parts)) == len(RECORDS)
    for part, percent in zip(parts, (60, 10, 15, 15), strict=True):
        assert len(part) / 20 == pytest.approx(percent, abs=4)


def test_a_record_stays_in_its_part_when_others_come_go_or_move() -> None:
    few = list(reversed(RECORDS[500:]))
    for part, whole in zip(members(few), members(RECORDS), strict=True):
        assert part <= whole


def test_exact_duplicates_never_straddle_parts() -> None:
    split = split_four_ways(RECORDS[:50] * 3, b"")
    for part in (split.train, split.reference, split.canary, split.test):
        assert len(part) % 3 == 0


def test_another_salt_is_another_split_and_salts_do_not_run_into_records() -> None:
    assert members(RECORDS, b"task a") != members(RECORDS, b"task b")
    first = split_four_ways([b"bc" + bytes([i]) for i in range(99)], b"a")
    second = split_four_ways([b"c" + bytes([i]) for i in range(99)], b"ab")
    assert first.train.tolist() != second.train.tolist()


def test_an_empty_share_gets_nothing() -> None:
    assert len(split_four_ways(RECORDS, b"", (80, 0, 0, 20)).reference) == 0
    assert len(split_four_ways(RECORDS, b"", (0, 100, 0, 0)).train) == 0
    with pytest.raises(TypeError):
        split_four_ways(RECORDS, b"", (60, 10, 15, 14))


def test_the_bytes_of_a_record_are_the_same_for_every_dtype_and_memory_order() -> None:
    x, y = np.arange(12.0).reshape(3, 2, 2), np.array([0, 1, 2])
    expected = list(record_bytes(x, y))
    assert list(record_bytes(np.asfortranarray(x), y.astype(np.uint8))) == expected
    assert list(record_bytes(x.astype(np.float32), y)) == expected
    assert len(set(expected)) == 3


@given(st.integers(2, 5), st.floats(0.05, 10), st.integers(0, 100), st.integers(0, 10), st.integers(60, 200))
def test_shards_are_disjoint_complete_and_not_below_the_minimum(
    organisations: int, alpha: float, seed: int, minimum: int, count: int
) -> None:
    targets = np.random.default_rng(seed).integers(0, 3, count)
    shards = dirichlet_shards(targets, organisations, alpha, seed, minimum)
    assert len(shards) == organisations
    assert sorted(i for shard in shards for i in shard) == list(range(count))
    assert min(map(len, shards)) >= minimum


def test_the_seed_fixes_the_shards() -> None:
    targets = np.arange(300) % 3
    first, again, other = (dirichlet_shards(targets, 4, 0.5, seed, 10) for seed in (1, 1, 2))
    assert [s.tolist() for s in first] == [s.tolist() for s in again]
    assert [s.tolist() for s in first] != [s.tolist() for s in other]


def test_a_small_alpha_is_further_from_iid() -> None:
    targets = np.arange(3000) % 10

    def spread(alpha: float) -> float:
        shards = dirichlet_shards(targets, 5, alpha, 0, 1)
        shares = [np.bincount(targets[s], minlength=10) / len(s) for s in shards]
        return float(np.abs(np.array(shares) - 0.1).sum(axis=1).mean())

    assert spread(0.1) > 2 * spread(10.0)


def test_too_few_records_for_the_minimum_are_refused() -> None:
    with pytest.raises(PartitionRefused) as refusal:
        dirichlet_shards(np.zeros(19), 4, 1.0, 0, 5)
    assert refusal.value.facts == {"records": 19, "needed": 20}
