"""Percentiles and ratios, the same way everywhere."""

import math
from collections.abc import Mapping, Sequence
from statistics import median

__all__ = ["median", "percentile", "ratio", "summary_ms"]


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value with at least ``percent`` of all values at or below it (nearest rank). Raises ValueError."""
    if not values or not 0 < percent <= 100:
        raise ValueError(f"no percentile {percent} of {len(values)} values")
    return sorted(values)[math.ceil(percent / 100 * len(values)) - 1]


def summary_ms(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p95, p99 and the largest of some durations, in milliseconds, and how many they are."""
    if not seconds:
        return {"samples": 0}
    figures = {f"p{percent}_ms": round(percentile(seconds, percent) * 1000, 2) for percent in (50, 95, 99)}
    return {"samples": len(seconds), **figures, "max_ms": round(max(seconds) * 1000, 2)}


def ratio(ours: float, theirs: float) -> float:
    """Ours over theirs to three decimals. Raises ValueError when there is nothing to compare with."""
    if theirs <= 0:
        raise ValueError("nothing to compare with")
    return round(ours / theirs, 3)


def per(total: Mapping[str, float], count: int) -> dict[str, float]:
    """Seconds of each name as microseconds for each of ``count``; empty when there is none."""
    return {name: round(seconds / count * 1e6, 1) for name, seconds in total.items()} if count else {}
