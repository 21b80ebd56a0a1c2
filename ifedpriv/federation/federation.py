"""Drives a method's rounds through a defense's sessions; one loop for every method and every defense.

The invariant: clients and server exchange frames and nothing else. What a client receives is what it decodes
from the broadcast's bytes, and the server goes on from the same decoded numbers, so that a coarse wire shows
in the results just as it would in a deployment.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from defenses.defense import Defense
from defenses.entropy import Entropy
from defenses.frame import SERVER
from defenses.ledger import Event, Ledger
from defenses.session import RoundInfo
from defenses.upload import Upload, UploadKind
from defenses.view import Direction, ServerViewWriter
from ifedpriv.errors import UserError
from ifedpriv.federation.cohort import Cohort
from ifedpriv.federation.traffic import Traffic
from ifedpriv.methods.method import Client, ClientStep, Method, State

_STEP = 13

_RELEASED = {
    UploadKind.VECTOR: "context vectors: mean activations of the clients' examples",
    UploadKind.COEFFICIENTS: "injection coefficients calibrated on the clients' examples",
    UploadKind.WEIGHTS: "adapter weights trained on the clients' examples",
    UploadKind.SCORES: "right answers on the clients' held-out examples, with and without the injection",
}


class ClientPool(Protocol):
    """Clients by number; only those that are active need to be in memory."""

    def numbers(self, round_number: int) -> tuple[int, ...]:
        """Clients that have what a round asks for, ascending."""
        ...

    def __getitem__(self, number: int) -> Client:
        """One client's data."""
        ...


@dataclass(slots=True)
class RoundRecord:
    """What happened in one round; times are of this process, losses stay on the simulator's side.

    Attributes:
        round: its number.
        kind: what was uploaded.
        took_part: clients whose upload arrived.
        failed: clients that were asked and did not answer.
        loss: mean training loss of the clients, where the round trains.
        seconds: wall time.
        client_seconds: processor time of all client steps together.
        up: bytes to the server.
        down: bytes to the clients.
    """

    round: int
    kind: UploadKind
    took_part: tuple[int, ...] = ()
    failed: tuple[int, ...] = ()
    loss: float | None = None
    seconds: float = 0.0
    client_seconds: float = 0.0
    up: Traffic = field(default_factory=Traffic)
    down: Traffic = field(default_factory=Traffic)


class Federation:
    """A server and its clients in one process.

    Args:
        method: what clients and server compute.
        defense: how uploads are protected.
        clients: who can be asked.
        cohort: who is asked, and who fails.
        entropy: source of the defense's randomness.
        ledger: takes every release down.
        seed: fixes the clients' own draws (batches), by round and client.
        view: records what the server sees, if given.
    """

    def __init__(
        self,
        method: Method,
        defense: Defense,
        clients: ClientPool,
        cohort: Cohort,
        *,
        entropy: Entropy,
        ledger: Ledger,
        seed: int,
        view: ServerViewWriter | None = None,
    ) -> None:
        self.method = method
        self.defense = defense
        self.clients = clients
        self.cohort = cohort
        self.entropy = entropy
        self.ledger = ledger
        self.seed = seed
        self.view = view

    def play_round(self, state: State) -> tuple[State, RoundRecord]:
        """One round: broadcast, client steps, aggregate.

        Returns:
            The next state and the record. If no client answered, the state's arrays stay as they were.

        Raises:
            UserError: if no client answered in round 0, since there is nothing to go on with.
        """
        started = time.perf_counter()
        number = state.round
        kind, layout = self.method.asks(number)
        record = RoundRecord(number, kind)
        invited = self.cohort.invited(number, self.clients.numbers(number))
        if not invited:
            return self._nobody(state, record, started)
        info = RoundInfo(number, kind, invited, layout)
        if self.view is not None:
            self.view.begin_round(info)
        state = self._broadcast(state, invited, record)
        server = self.defense.server(info)
        losses: list[float] = []
        for client in invited:
            if self.cohort.fails(number, client):
                self._deliver(server.lost([client]), record)
                record.failed += (client,)
                continue
            step = self._client_step(state, client, record)
            session = self.defense.client(client, info, self.entropy)
            for frame in session.protect(step.upload):
                self._up(client, frame, number, record)
                self._deliver(server.receive(client, frame), record)
            record.took_part += (client,)
            if step.loss is not None:
                losses.append(step.loss)
        record.loss = float(np.mean(losses)) if losses else None
        if not record.took_part:
            return self._nobody(state, record, started)
        aggregate = server.aggregate()
        self.ledger.add(Event(_RELEASED[kind], number, record.took_part, kind))
        return self._over(self.method.server_step(state, aggregate), record, started)

    def _client_step(self, state: State, client: int, record: RoundRecord) -> ClientStep:
        rng = np.random.default_rng([self.seed, _STEP, state.round, client])
        before = time.process_time()
        step = self.method.client_step(state, self.clients[client], rng)
        record.client_seconds += time.process_time() - before
        return step

    def _broadcast(self, state: State, recipients: tuple[int, ...], record: RoundRecord) -> State:
        for upload in self.method.broadcasts(state):
            frame = self.defense.broadcast(upload)
            if self.view is not None:
                self.view.add_layout(upload.layout)
            for client in recipients:
                self._down(client, frame, state.round, record)
            read: Upload = self.defense.read_broadcast(
                frame, upload.layout, kind=upload.kind, round_number=upload.round
            )
            state = self.method.heard(state, read)
        return state

    def _deliver(self, frames: Mapping[int, list[bytes]], record: RoundRecord) -> None:
        """Frames that the server's session addressed to clients, counted and recorded.

        The sessions that exist answer nothing; a protocol that does needs its client sessions kept here.
        """
        for client, each in frames.items():
            for frame in each:
                self._down(client, frame, record.round, record)

    def _up(self, client: int, frame: bytes, number: int, record: RoundRecord) -> None:
        record.up.count(client, frame)
        if self.view is not None:
            self.view.append(Direction.UP, sender=client, recipient=SERVER, round_number=number, frame=frame)

    def _down(self, client: int, frame: bytes, number: int, record: RoundRecord) -> None:
        record.down.count(client, frame)
        if self.view is not None:
            self.view.append(
                Direction.DOWN, sender=SERVER, recipient=client, round_number=number, frame=frame
            )

    def _over(self, state: State, record: RoundRecord, started: float) -> tuple[State, RoundRecord]:
        """The round's end: what was recorded is on disk before anybody writes down that the round is over."""
        if self.view is not None:
            self.view.flush()
        record.seconds = time.perf_counter() - started
        return state, record

    def _nobody(self, state: State, record: RoundRecord, started: float) -> tuple[State, RoundRecord]:
        if state.round == 0:
            raise UserError(
                f"no client answered in round 0 ({len(record.failed)} failed)",
                "lower cohort.failure_rate or add clients: without a first upload there is nothing to go on with",
            )
        return self._over(state.next(), record, started)
