"""Table of the vector's share by examples, rounds, skew and conventions, for `findings.py`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import fmean

from _sweep import mean_text
from _tables import cells, markdown, values

from ifedpriv.measure.share import share_over_seeds

FEW = 3
"""Seeds from which an interval says something."""
# A gain of less than five points is within what 500 queries leave to chance.
_CHANCE = 0.05
KEYS = ("zero-shot", "IFed-ICL", "public mean", "no vector")


def vector_share(name: str = "vector_share") -> str:
    """One row a cell: four accuracies, and what is lost of the gain with the public mean and with no vector.

    Args:
        name: of the result; each model has its own.
    """
    rows = []
    for cell, by_seed in cells(name).items():
        bare, private, public, none = (values(by_seed, key) for key in KEYS)
        shares = [_share(private, other, bare) for other in (public, none)]
        rows.append([cell, str(len(by_seed)), *map(mean_text, (bare, private, public, none)), *shares])
    return markdown(["", "seeds", *KEYS, "share", "share with no vector"], rows)


def _share(private: list[float], other: list[float], bare: list[float]) -> str:
    if len(private) < FEW:
        gain = fmean(private) - fmean(bare)
        return f"{(fmean(private) - fmean(other)) / gain:.2f}" if gain > _CHANCE else "no gain"
    found = share_over_seeds(private, other, bare)
    if found.value is None or found.interval is None:
        return "no gain"
    return f"{found.value:.2f} [{found.interval.low:.2f}, {found.interval.high:.2f}]"


TABLES: dict[str, Callable[[], str]] = {
    "vector_share": vector_share,
    "vector_share_real": partial(vector_share, "vector_share_stories260k"),
}
