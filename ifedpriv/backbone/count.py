"""Counts what a model is asked: the cost of a method in queries, whichever way it trains.

The one invariant: a sequence counts once each time it goes forward through the model, with or without a backward pass,
and wherever it comes from; nothing else about the pass changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ifedpriv.backbone.backbone import Backbone


class Queries:
    """A running count of sequences."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> int:
        """Sequences that have gone forward so far."""
        return self.count


@contextmanager
def counted(backbone: Backbone) -> Iterator[Queries]:
    """Count the sequences that go forward until the block ends; a generated answer counts once a token."""
    queries = Queries()

    def see(_: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        ids = named.get("input_ids", given[0] if given else None)
        ids = named.get("inputs_embeds") if ids is None else ids
        queries.count += 0 if ids is None else int(ids.shape[0])

    handle = backbone.sites.base.register_forward_pre_hook(see, with_kwargs=True)
    try:
        yield queries
    finally:
        handle.remove()
