"""Public tasks of the embedded world: every labelling convention that no shipped task, and no result, is shown on.

The invariant: a convention is told by what it does and not by its name, so a shipped task's map is kept out under every
prefix and restriction, and so are all maps that contradict it on the same label words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ifedpriv.data.shipped import make_task_data, recipes
from ifedpriv.data.task import TaskData
from ifedpriv.embedded.conventions import Convention, all_conventions

KEPT_APART: Mapping[str, int] = {"verdict": 3, "request": 9}
"""Attribute to number of a convention's map that no task ships and results are shown on as well: its label words are
shared with maps that contradict it, so that the words alone do not tell which of them holds."""


def kept_apart(attribute: str) -> Convention:
    """The convention of `KEPT_APART` for an attribute."""
    plain = [c for c in all_conventions() if c.attribute == attribute and " " not in c.labels[0][1]]
    return plain[KEPT_APART[attribute]]


def public_conventions() -> tuple[Convention, ...]:
    """The conventions that coefficients may be calibrated on, in a fixed order."""
    shown = [c for recipe in recipes().values() for c in recipe.conventions]
    shown += [kept_apart(attribute) for attribute in KEPT_APART]
    return tuple(c for c in all_conventions() if not any(_like(c, other) for other in shown))


def public_kind(convention: Convention) -> str:
    """What a convention has in common with others: the attribute it sorts by, or that it copies."""
    return convention.attribute or "copy"


def public_tasks(*, seed: int, examples: int, queries: int) -> Iterator[tuple[str, TaskData]]:
    """Kind and texts of every public task; no text of one is another's.

    Args:
        seed: fixes every text.
        examples: training texts of each.
        queries: test texts of each.
    """
    for number, convention in enumerate(public_conventions()):
        name = f"{public_kind(convention)}-{convention.index}"
        sizes = (examples, 1, queries)
        yield (
            public_kind(convention),
            make_task_data(name, (convention,), seed=seed * 1_000_003 + number + 1, sizes=sizes),
        )


def _like(convention: Convention, shown: Convention) -> bool:
    if shown.fields or convention.fields:
        return convention.fields == shown.fields
    if convention.attribute != shown.attribute:
        return False
    map_of, shown_map = _map(convention), _map(shown)
    # The same words on the same values, in the same order or in another one: it agrees or contradicts.
    return {map_of[value] for value in shown_map} == set(shown_map.values())


def _map(convention: Convention) -> dict[str, str]:
    """Value to label without its prefix."""
    return {value: label.split()[-1] for value, label in convention.labels}
