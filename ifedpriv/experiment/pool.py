"""The clients of a simulation, with what each holds out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from ifedpriv.data.task import Example
from ifedpriv.methods.method import Client


class Clients:
    """All clients, by number.

    Args:
        clients: in the order of their numbers.
        takes_part: whether a client has what a round asks for.
    """

    def __init__(self, clients: Sequence[Client], takes_part: Callable[[int, Client], bool]) -> None:
        self._clients = tuple(clients)
        self._takes_part = takes_part

    def __len__(self) -> int:
        return len(self._clients)

    def __getitem__(self, number: int) -> Client:
        return self._clients[number]

    def numbers(self, round_number: int) -> tuple[int, ...]:
        """Clients that have what a round asks for, ascending."""
        return tuple(c.number for c in self._clients if self._takes_part(round_number, c))


def client_of(number: int, examples: Sequence[Example], group: str, held_out: float) -> Client:
    """A client that holds out a share of its examples, rounded down, and always trains on at least one."""
    held = min(int(held_out * len(examples)), len(examples) - 1)
    return Client(number, tuple(examples[held:]), tuple(examples[:held]), group)


def client_by_content(number: int, examples: Sequence[Example], group: str, held_out: float) -> Client:
    """A client each of whose examples is held out or not by what it says, with ``held_out`` as the chance.

    One example more or fewer then moves no other one from one side to the other, which a guarantee about one example
    rests on.
    """
    train: list[Example] = []
    validation: list[Example] = []
    for example in examples:
        said = f"ifedpriv held out 1|{example.text}|{example.label}|{example.answer}".encode()
        chance = int.from_bytes(hashlib.sha256(said).digest()[:8], "big") / 2**64
        (validation if chance < held_out else train).append(example)
    return Client(number, tuple(train), tuple(validation), group)
