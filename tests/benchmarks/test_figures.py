import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.measuring import figures
from benchmarks.measuring.processes import cpu_seconds, memory_bytes


def test_a_percentile_is_the_nearest_rank_and_always_a_measured_value() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert [figures.percentile(values, percent) for percent in (1, 20, 21, 50, 60, 61, 100)] == [1, 1, 2, 3, 3, 4, 5]


def test_p99_of_few_values_is_the_largest() -> None:
    assert figures.percentile([1.0, 9.0], 99) == 9.0


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60), st.floats(0.1, 100))
def test_so_much_of_the_values_lies_at_or_below_a_percentile(values, percent) -> None:
    found = figures.percentile(values, percent)
    at_or_below = sum(value <= found for value in values)
    below = sum(value < found for value in values)
    assert below / len(values) * 100 < percent <= at_or_below / len(values) * 100 + 1e-9


@pytest.mark.parametrize(("values", "percent"), [([], 50), ([1.0], 0), ([1.0], 101)])
def test_a_percentile_of_nothing_or_out_of_range_is_refused(values, percent) -> None:
    with pytest.raises(ValueError, match="percentile"):
        figures.percentile(values, percent)


def test_a_summary_is_in_milliseconds_and_counts_its_samples() -> None:
    summary = figures.summary_ms([number / 1000 for number in range(1, 101)])
    assert summary == {"samples": 100, "p50_ms": 50.0, "p95_ms": 95.0, "p99_ms": 99.0, "max_ms": 100.0}
    assert figures.summary_ms([]) == {"samples": 0}


def test_a_ratio_to_nothing_is_refused() -> None:
    assert figures.ratio(1500, 2500) == 0.6
    with pytest.raises(ValueError, match="nothing to compare"):
        figures.ratio(1.0, 0.0)


def test_seconds_are_shared_out_as_microseconds() -> None:
    assert figures.per({"application": 1.5, "node": 0.0}, 1_000) == {"application": 1500.0, "node": 0.0}
    assert figures.per({"application": 1.5}, 0) == {}


def test_processor_time_of_this_process_grows_with_its_work() -> None:
    import os

    before = cpu_seconds(os.getpid())
    total = 0
    while cpu_seconds(os.getpid()) <= before:
        total += sum(range(10_000))
    assert total > 0
    assert memory_bytes() > 2**20
