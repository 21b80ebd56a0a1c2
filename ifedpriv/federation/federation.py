"""Drives a method's rounds through a defense's sessions; one loop for every method and every defense.

The invariant: clients and server exchange frames and nothing else. What a client receives is what it decodes
from the broadcast's bytes, and the server goes on from the same decoded numbers, so that a coarse wire shows
in the results just as it would in a deployment.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from defenses.defense import Defense
from defenses.dp.promise import beyond_budget
from defenses.entropy import Entropy
from defenses.errors import ProtocolError
from defenses.frame import SERVER, Precision, encode
from defenses.ledger import Event, Ledger
from defenses.session import Aggregate, RoundInfo
from defenses.upload import Upload, UploadKind
from defenses.view import Direction, ServerViewWriter
from defenses.view_facts import SumFacts
from ifedpriv.errors import UserError
from ifedpriv.federation.cohort import Cohort
from ifedpriv.federation.exchange import Exchange
from ifedpriv.federation.offering import draws_of, noise_of, offer, step_rng
from ifedpriv.federation.traffic import Traffic
from ifedpriv.methods.method import SERVERS, Client, Method, State

_RELEASED = {
    UploadKind.VECTOR: "context vectors: mean activations of the clients' examples",
    UploadKind.COEFFICIENTS: "injection coefficients calibrated on the clients' examples",
    UploadKind.WEIGHTS: "adapter weights trained on the clients' examples",
    UploadKind.SCORES: "right answers on the clients' held-out examples, with and without the injection",
    UploadKind.CLUSTERS: "what clients are clustered by: moments and sums of short sketches of their examples",
    UploadKind.PROMPTS: "changes to soft prompts tuned on the clients' examples, by cluster",
    UploadKind.COUNTS: "how many clients are in each cluster",
}


Intend = Callable[[int, Sequence[Event]], None]
"""Told of a round and of what it is about to release, before its first frame is sent."""


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
        took_part: clients whose upload is in the aggregate.
        failed: clients that were asked and did not stay to the end; one that fails late may still have taken part.
        loss: mean training loss of the clients, where the round trains.
        seconds: wall time.
        queries: forward passes of one example that the clients asked of the model; None where nobody counts them.
        client_seconds: processor time of all clients together: their steps, and their ends of the protocol.
        up: bytes to the server.
        down: bytes to the clients.
        helpers: bytes between the server and parties that are no clients, both ways.
        refusals: what was refused and by whom, and why there is no aggregate if there is none.
    """

    round: int
    kind: UploadKind
    took_part: tuple[int, ...] = ()
    failed: tuple[int, ...] = ()
    loss: float | None = None
    queries: int | None = None
    seconds: float = 0.0
    client_seconds: float = 0.0
    up: Traffic = field(default_factory=Traffic)
    down: Traffic = field(default_factory=Traffic)
    helpers: Traffic = field(default_factory=Traffic)
    refusals: tuple[str, ...] = ()


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
        agreed: digest of what all ends have agreed on beside the state (method, template, model); with the state it
            makes the context of a round, for defenses that bind to one.
        queries: how many sequences have gone through the model so far, for methods that do not count by themselves.
        intend: is told what each round is about to release, before the round sends anything.
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
        agreed: bytes = b"",
        queries: Callable[[], int] | None = None,
        intend: Intend | None = None,
    ) -> None:
        self.method = method
        self.defense = defense.enrolled(_everybody(method, clients), entropy.branch("enrolment"))
        self.clients = clients
        self.cohort = cohort
        self.entropy = entropy
        self.ledger = ledger
        self.seed = seed
        self.view = view
        self.agreed = agreed
        self.queries = queries
        self.intend = intend

    def prospect(self, number: int) -> list[Event]:
        """What the ledger will have of a round, if everybody who is asked sends."""
        kind, layout = self.method.asks(number)
        invited = self._invited(number)
        if not invited:
            return []
        release = self.defense.release(kind, layout)
        return release.events(_RELEASED[kind], number, invited, invited, len(invited))

    def beyond_budget(self, numbers: Iterable[int]) -> str | None:
        """Why these rounds together may not be played after what was released, with what they would cost.

        None where there is room for them, or where the defense has no budget.
        """
        privacy = self.defense.spec.privacy
        if privacy is None:
            return None
        following = [event for number in numbers for event in self.prospect(number)]
        return beyond_budget(privacy, self.ledger, following)

    def play_round(self, state: State) -> tuple[State, RoundRecord]:
        """One round: broadcast, client steps, aggregate.

        Returns:
            The next state and the record. If there is no aggregate, the state's arrays stay as they were.

        Raises:
            UserError: if there is none in round 0, since there is nothing to go on with; or if the round would exceed
                the budget, before anything of it is sent.
        """
        started = time.perf_counter()
        number = state.round
        kind, layout = self.method.asks(number)
        record = RoundRecord(number, kind)
        invited = self._invited(number)
        if not invited:
            return self._nobody(state, record, started)
        self._begin(number)
        release = self.defense.release(kind, layout)
        info = RoundInfo(number, kind, invited, release.travels(layout))
        if self.view is not None:
            self.view.begin_round(info)
        state, heard = self._broadcast(state, invited, record)
        known = heard.get(kind)
        # What was broadcast under another layout is nothing that an upload could be measured from.
        centre = layout.flatten(known.arrays) if known is not None and known.layout == layout else None
        if self.defense.binds_context:
            info = replace(info, context=context(state, self.agreed))
        try:
            server, helpers = self.defense.server(info), self.defense.helpers(info)
        except ProtocolError as error:
            record.refusals = (str(error),)
            return self._nobody(state, record, started)
        exchange = Exchange(
            server,
            up=lambda client, frame: self._up(client, frame, number, record),
            down=lambda client, frame: self._down(client, frame, number, record),
            helpers=helpers,
        )
        losses: list[float] = []
        for client in invited:
            left = None
            if self.cohort.fails(number, client):
                left = self.cohort.frames_before_failing(number, client, self.defense.exchanges(kind))
                if left == 0:
                    exchange.lose([client])
                    continue
            asked = self.queries() if self.queries else None
            entropy = draws_of(self.entropy, number, client)
            session = self.defense.client(client, info, entropy)
            before = time.process_time()
            step, upload = offer(
                self.method,
                state,
                self.clients[client],
                release,
                rng=step_rng(self.seed, number, client),
                centre=centre,
                roster=len(invited),
                noise=noise_of(entropy),
            )
            record.client_seconds += time.process_time() - before
            # A method that counts by itself counts what a resumed run has to compute again only once.
            queries = step.queries
            if queries is None and self.queries is not None and asked is not None:
                queries = self.queries() - asked
            if queries is not None:
                record.queries = (record.queries or 0) + queries
            exchange.begin(client, session, upload, left)
            if step.loss is not None:
                losses.append(step.loss)
        exchange.finish()
        record.client_seconds += exchange.client_seconds
        sent = tuple(client for client in invited if record.up.wire.get(client))
        for helper in helpers:
            record.up.move(helper, record.helpers)
            record.down.move(helper, record.helpers)
        record.loss = float(np.mean(losses)) if losses else None
        record.failed = tuple(sorted(exchange.failed - set(helpers)))
        record.refusals = tuple(exchange.refusals)
        # Whoever has sent something is charged, also where no sum comes of it.
        released = _RELEASED[kind]
        try:
            summed = server.aggregate()
        except ProtocolError as error:
            self._charge(release.events(released, number, (), sent, len(invited)))
            record.refusals += (str(error),)
            return self._nobody(state, record, started)
        record.took_part = summed.contributors
        record.refusals += summed.lacking
        for each in summed.released:
            self._charge(release.events(released, number, each.contributors, sent, len(invited)))
            if not self.defense.reveals_individuals:
                self._compute(each)
        noise = self.entropy.branch(f"round {number} server")
        aggregate = release.take(summed, layout, centre, len(invited), noise)
        if aggregate is not summed:
            self._compute(aggregate)
        return self._over(self.method.server_step(state, aggregate), record, started)

    def _invited(self, number: int) -> tuple[int, ...]:
        return self.cohort.invited(self.method.cohort(number), self.clients.numbers(number))

    def _begin(self, number: int) -> None:
        """Nothing of a round is sent before its cost fits the budget, and before it is known that the round begins."""
        beyond = self.beyond_budget([number])
        if beyond is not None:
            raise UserError(
                f"round {number} was not begun: {beyond}",
                "raise defense.privacy.epsilon before the first round, or ask for fewer rounds",
            )
        if self.intend is not None:
            self.intend(number, self.prospect(number))

    def _charge(self, events: list[Event]) -> None:
        for event in events:
            self.ledger.add(event)

    def _compute(self, aggregate: Aggregate) -> None:
        """Into the recording, where the server cannot work it out of single frames."""
        if self.view is not None:
            upload = aggregate.as_upload()
            self.view.add_layout(upload.layout)
            self.view.add_sum(SumFacts(aggregate.round, aggregate.kind, aggregate.contributors))
            self.view.append(
                Direction.COMPUTED,
                sender=SERVER,
                recipient=SERVER,
                round_number=aggregate.round,
                frame=encode(upload, SERVER, Precision.FP32),
            )

    def _broadcast(
        self, state: State, recipients: tuple[int, ...], record: RoundRecord
    ) -> tuple[State, dict[UploadKind, Upload]]:
        """The state as clients decode it, and what they decoded, by kind."""
        heard: dict[UploadKind, Upload] = {}
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
            heard[upload.kind] = read
        return state, heard

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
            if record.refusals and (record.up.wire or not record.failed):
                raise UserError(
                    f"round 0 gave no sum: {'; '.join(record.refusals)}",
                    "without a first upload there is nothing to go on with",
                )
            raise UserError(
                f"no client answered in round 0 ({len(record.failed)} failed)",
                "lower cohort.failure_rate or add clients: without a first upload there is nothing to go on with",
            )
        return self._over(state.next(), record, started)


def context(state: State, agreed: bytes) -> str:
    """Hexadecimal digest of what a client works from in a round: the state as it knows it, and what was agreed on."""
    digest = hashlib.sha256(f"ifedpriv context 1|{len(agreed)}|".encode() + agreed)
    digest.update(f"{state.round}|".encode())
    for name, array in sorted(state.arrays.items()):
        if name.startswith(SERVERS):
            continue
        digest.update(f"{name}|{array.shape}|".encode())
        digest.update(np.ascontiguousarray(array, dtype="<f4").tobytes())
    return digest.hexdigest()


def _everybody(method: Method, clients: ClientPool) -> set[int]:
    """Every client that some round may ask; kinds of rounds differ in whom they ask, rounds of a kind do not."""
    first_of_kind = {method.asks(number)[0]: number for number in range(method.rounds)}
    return {client for number in first_of_kind.values() for client in clients.numbers(number)}
