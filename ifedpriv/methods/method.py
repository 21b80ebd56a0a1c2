"""The contract of a federated method: pure steps over a state, uploads out, nothing sent.

A method never serialises and never talks to anybody: what a client would like the server to have is an
`Upload`, and only a defense turns that into bytes. The state is named arrays and a round number, so that any
method's run can be checkpointed and resumed by the same code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from defenses.records import Records
from defenses.session import Aggregate
from defenses.upload import Layout, Upload, UploadKind
from ifedpriv.data.task import Example
from ifedpriv.icl.predict import Adaptation

SERVERS = "server."
"""Arrays of a state whose name begins so stay with the server: no broadcast has them, and no client knows them."""


@dataclass(frozen=True, slots=True)
class Client:
    """One client's private data.

    Attributes:
        number: its place in the federation, from 0.
        train: examples it extracts from and calibrates on.
        validation: examples it holds out for the guard.
        group: name of the group whose labelling it follows; empty if all follow one.
    """

    number: int
    train: Sequence[Example]
    validation: Sequence[Example] = ()
    group: str = ""

    def __repr__(self) -> str:
        """Show nothing that is private, sizes included."""
        return f"Client({self.number})"


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """What the server knows between rounds.

    Attributes:
        round: number of the round that comes next.
        arrays: named float32 arrays, read-only.
    """

    round: int
    arrays: Mapping[str, NDArray[np.float32]]

    def __post_init__(self) -> None:
        owned = {name: np.array(array, dtype=np.float32) for name, array in self.arrays.items()}
        for array in owned.values():
            array.flags.writeable = False
        object.__setattr__(self, "arrays", MappingProxyType(owned))

    def next(self, **changes: NDArray[np.float32]) -> State:
        """The state after a round, with some arrays replaced or added."""
        return State(self.round + 1, {**self.arrays, **changes})

    def with_arrays(self, arrays: Mapping[str, NDArray[np.float32]]) -> State:
        """The same round with some arrays replaced, as after a broadcast has been rounded by the wire."""
        return State(self.round, {**self.arrays, **arrays})


@dataclass(frozen=True, slots=True, eq=False)
class ClientStep:
    """A client's part in a round: what it offers, and its training loss (kept in simulation, never sent).

    Attributes:
        upload: what the server should have of it: arrays, or one row for each example, whose mean it should have.
        loss: mean loss over the steps; None where the round does not train, or where it may not be looked at.
        queries: forward passes of one example that it asked of the model; None where nobody counts them.
        not_finite: what was not finite and has counted as zero already, in words; empty for nothing. Never sent.
    """

    upload: Upload | Records
    loss: float | None
    queries: int | None = None
    not_finite: str = ""


class Artifact(Adaptation, Protocol):
    """What a method ends with: something to put on a backbone, and to save."""

    def save(self, path: Path) -> None:
        """Write it to a file."""
        ...


class Method(Protocol):
    """A federated method."""

    @property
    def rounds(self) -> int:
        """Number of rounds, all kinds together."""
        ...

    @property
    def guard_round(self) -> int | None:
        """Number of the round that asks for held-out scores, if there is one."""
        ...

    def cohort(self, round_number: int) -> int:
        """Which draw of clients a round asks: rounds of one draw ask the same clients, and draw 0 asks everybody."""
        ...

    def initial_state(self) -> State:
        """The state before any client has been heard."""
        ...

    def asks(self, round_number: int) -> tuple[UploadKind, Layout]:
        """What clients upload in a round."""
        ...

    def broadcasts(self, state: State) -> list[Upload]:
        """What the server sends to every participant before the round that comes next."""
        ...

    def heard(self, state: State, broadcast: Upload) -> State:
        """The state with a broadcast as clients decode it: what a coarse wire has rounded off is gone for all."""
        ...

    def takes_part(self, round_number: int, client: Client) -> bool:
        """Whether a client has what a round asks for."""
        ...

    def client_step(self, state: State, client: Client, rng: np.random.Generator) -> ClientStep:
        """One client's computation; reads its private data."""
        ...

    def server_step(self, state: State, aggregate: Aggregate) -> State:
        """Take what the defense lets the server see into the state."""
        ...
