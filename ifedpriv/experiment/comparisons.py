"""The lines of a run's table, piece by piece: the method, what clients do alone, and the bare model.

The one invariant: a piece is made from the setup and the artifact alone, so that a resumed run may keep those that it
has and make the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

from ifedpriv.errors import NotFiniteError
from ifedpriv.experiment import baselines
from ifedpriv.experiment.prepare import Setup
from ifedpriv.experiment.prompts_compared import PromptAnswers
from ifedpriv.federation.federation import RoundRecord
from ifedpriv.icl.evaluate import Answers
from ifedpriv.icl.prototypes import PrototypeBank
from ifedpriv.icl.soft_prompt.library import PromptLibrary
from ifedpriv.methods.fed_lora import FedLora
from ifedpriv.methods.ficpd import SERVER_QUERIES, Ficpd
from ifedpriv.methods.method import Artifact, Client, Method, State
from ifedpriv.methods.prototype_icl import PrototypeIcl
from ifedpriv.report.schema import (
    GLOBAL_INJECTION,
    GLOBAL_LORA,
    LOCAL_ICL,
    LOCAL_INJECTION,
    LOCAL_LORA,
    LOCAL_PROMPT,
    META_PROMPT,
    PROTOTYPE_INJECTION,
    PROTOTYPE_PROMPT,
    ZERO_SHOT,
)

_BARE = "a client whose own training came to numbers that are not finite answers with the bare model"

Job = tuple[str, str, Callable[[], dict[str, Any]]]
"""Row, name of the piece, and how to make it."""


def piece(answers: Answers, seconds: float | None, **more: str) -> dict[str, Any]:
    """Answers as they are kept, with the seconds that a client spends on getting ready."""
    return {"truth": answers.truth, "predicted": answers.predicted, "client_seconds": seconds, **more}


def together(setup: Setup, artifact: Artifact) -> list[Answers]:
    """What the federation's artifact answers: one list, or one for each client where clients use it differently."""
    if isinstance(setup.method, Ficpd) and isinstance(artifact, PromptLibrary):
        return PromptAnswers(setup, setup.method, artifact).of_everybody()
    if isinstance(setup.method, PrototypeIcl) and isinstance(artifact, PrototypeBank):
        own = OwnPrototypes(setup, setup.method, artifact)
        return [own.of(client) for client in members(setup)]
    return [baselines.global_injection(setup, artifact)]


class OwnPrototypes:
    """What clients answer with their prototypes; each prototype, or mix, answers a group's queries once."""

    def __init__(self, setup: Setup, method: PrototypeIcl, bank: PrototypeBank) -> None:
        self._setup = setup
        self._method = method
        self._bank = bank
        self._answers: dict[tuple[bytes, str], Answers] = {}

    def of(self, client: Client) -> Answers:
        """To the queries of a client's group."""
        shares = self._method.shares(self._bank, client)
        key = (shares.tobytes(), client.group)
        if key not in self._answers:
            injection = self._bank.mixed(shares)
            self._answers[key] = baselines.local_injection(self._setup, injection, client)
        return self._answers[key]


def on_validation(setup: Setup) -> Setup:
    """The same experiment, asked the task's validation texts, which neither clients nor results are made of."""
    return replace(setup, data=replace(setup.data, test=setup.data.validation))


def joined(lists: Sequence[Answers]) -> Answers:
    """One list of all answers, for whoever wants their mean alone."""
    truth: Any = tuple(each for answers in lists for each in answers.truth)
    predicted: Any = tuple(each for answers in lists for each in answers.predicted)
    return Answers(truth, predicted)


def server_queries(method: Method, state: State, record: RoundRecord) -> int | None:
    """What the server asked of the model in a round; None where nobody counts it.

    Args:
        method: the method.
        state: after the round.
        record: of the round.
    """
    if not isinstance(method, Ficpd):
        return None
    distilled = method.distils(record.round) and record.took_part and SERVER_QUERIES in state.arrays
    return int(state.arrays[SERVER_QUERIES][0]) if distilled else 0


def jobs(setup: Setup, artifact: Artifact) -> list[Job]:
    """The method and what it is compared with; seconds are those that a client spends on getting ready."""
    found: list[Job] = [(ZERO_SHOT, ZERO_SHOT, lambda: piece(baselines.zero_shot(setup), 0.0))]
    if isinstance(setup.method, Ficpd) and isinstance(artifact, PromptLibrary):
        return found + _prompts(setup, setup.method, artifact)
    lora = isinstance(setup.method, FedLora)
    row, own_row = (GLOBAL_LORA, LOCAL_LORA) if lora else (GLOBAL_INJECTION, LOCAL_INJECTION)

    def alone(client: Client) -> dict[str, Any]:
        before = time.process_time()
        try:
            own = baselines.train_alone(setup, client)
        except NotFiniteError:
            # With privacy the run goes on without such a client, and this line says what it has by itself.
            return piece(baselines.bare(setup, client), time.process_time() - before, note=_BARE)
        spent = time.process_time() - before
        return piece(baselines.local_injection(setup, own, client), spent)

    own_prototype = None
    if isinstance(setup.method, PrototypeIcl) and isinstance(artifact, PrototypeBank):
        own_prototype = OwnPrototypes(setup, setup.method, artifact)
    else:
        found.append((row, row, lambda: piece(baselines.global_injection(setup, artifact), 0.0)))
    for client in members(setup):
        found += _shown(setup, client)
        if own_prototype is not None:
            part = f"{PROTOTYPE_INJECTION}-{client.number}"
            found.append((PROTOTYPE_INJECTION, part, partial(_own, own_prototype, client)))
        if setup.config.evaluation.local_injection:
            found.append((own_row, f"{own_row}-{client.number}", partial(alone, client)))
    return found


def _own(prototypes: OwnPrototypes, client: Client) -> dict[str, Any]:
    return piece(prototypes.of(client), 0.0)


def stood_in(setup: Setup, control: str, artifact: Callable[[], Artifact], note: str) -> list[Job]:
    """A control's row, asked as the method itself is; it costs no client anything, since no federation plays it.

    Args:
        setup: the run's parts.
        control: the row's key.
        artifact: makes it, and is called once and only if a piece is missing.
        note: what stands below the table.
    """
    made = cache(artifact)
    method = setup.method
    if not isinstance(method, PrototypeIcl):
        return [(control, control, lambda: piece(baselines.global_injection(setup, made()), None, note=note))]

    @cache
    def own() -> OwnPrototypes:
        bank = made()
        assert isinstance(bank, PrototypeBank)
        return OwnPrototypes(setup, method, bank)

    def of(client: Client) -> dict[str, Any]:
        return piece(own().of(client), None, note=note)

    return [(control, f"{control}-{client.number}", partial(of, client)) for client in members(setup)]


def _prompts(setup: Setup, method: Ficpd, library: PromptLibrary) -> list[Job]:
    answers = PromptAnswers(setup, method, library)

    def alone(client: Client) -> dict[str, Any]:
        before = time.process_time()
        own = answers.alone(client)
        spent = time.process_time() - before
        return piece(baselines.local_injection(setup, own, client), spent)

    def shared(client: Client) -> dict[str, Any]:
        return piece(answers.of(client), 0.0)

    found: list[Job] = [
        (META_PROMPT, META_PROMPT, lambda: piece(baselines.global_injection(setup, library), 0.0))
    ]
    for client in members(setup):
        found += _shown(setup, client)
        found.append((PROTOTYPE_PROMPT, f"{PROTOTYPE_PROMPT}-{client.number}", partial(shared, client)))
        if setup.config.evaluation.local_injection:
            found.append((LOCAL_PROMPT, f"{LOCAL_PROMPT}-{client.number}", partial(alone, client)))
    return found


def _shown(setup: Setup, client: Client) -> list[Job]:
    if not setup.config.evaluation.local_icl:
        return []
    name = f"{LOCAL_ICL}-{client.number}"
    return [(LOCAL_ICL, name, lambda: piece(baselines.local_icl(setup, client), 0.0))]


def members(setup: Setup) -> list[Client]:
    """Everybody with examples to learn from, by number."""
    return [setup.clients[number] for number in setup.clients.numbers(0)]
