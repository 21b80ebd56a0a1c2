"""What coefficients tell: which texts of a pool were in, how many of each label, and whose move is whose again.

The invariant: the rounds are played anew by clients of public texts, from what was broadcast; what those do is all that
an upload is compared with. Linking two rounds uses no sender's number.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from attacks._base.attack import (
    Answer,
    Capability,
    Guess,
    Histogram,
    Knowledge,
    Links,
    Others,
    Scope,
    Who,
)
from attacks._base.targets import Floats
from attacks._members.calibrations import (
    Recorded,
    ShadowClients,
    examples_told,
    gradients,
    read_rounds,
    shadow_clients,
)
from attacks._members.coefficient_scores import Movement, beside_shadows, label_shares, same_clients
from attacks._members.gradient_sums import GradientRounds, Sums, ratios, read_gradient_sums
from attacks._members.likelihood import as_scores
from defenses.upload import UploadKind
from defenses.view import ServerView
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Example, Key, key_of

NAME = "coefficients"
MEMBERSHIP, LABELS, LINKED = "shadow calibrations", "label mix", "linked rounds"
GRADIENTS = "noised gradients"
STRONG = f"{GRADIENTS}, all others known"
READS = UploadKind.COEFFICIENTS
"""What is drawn at random for the control."""
_NOT_TAKEN_OFF = "what colluding clients have added to sums of coefficients is not worked out here"


def guess(view: ServerView, backbone: Backbone, knowledge: Knowledge) -> tuple[Guess, ...]:
    """Membership of candidates, label mixes, and links between rounds.

    Reads: coefficients and what was broadcast before them. Knows: the public task, public texts with labels, what
    clients were told to do, and for membership a pool of candidates. Costs one calibration for each shadow and round,
    and one backward pass for each candidate and round.

    Where rounds release noised sums of examples' gradients, members are told by ``noised gradients``, and by ``noised
    gradients, all others known`` for an adversary that has every example but one. No shadow is played then.
    """
    if knowledge.declared.gradients:
        return _of_gradients(view, backbone, knowledge)
    recorded = read_rounds(view, backbone)
    lacks = recorded.refused or _lacks(knowledge, recorded)
    only_sums = ""
    if not lacks and not recorded.rounds[0].moves:
        only_sums = f"the view holds only sums over {recorded.rounds[0].clients} clients"
    no_pool = knowledge.lacks([Capability.POOL]) or ""
    no_classes = knowledge.lacks([Capability.CLASSES]) or ""
    once = (
        ""
        if lacks or len(recorded.rounds) > 1
        else "there is one round of coefficients, and nothing to link it to"
    )
    started = time.perf_counter()
    shadows, texts = None, None
    if not (lacks or (only_sums and no_pool)):
        examples = examples_told(view, backbone, knowledge, recorded)
        shadows = shadow_clients(backbone, knowledge, recorded, examples)
        texts = None if no_pool else _gradients(backbone, knowledge, recorded, shadows)
    # What all methods share is told with the first that uses it.
    spent = [time.perf_counter() - started]

    def each(
        method: str, scope: Scope, why: str, run: Callable[[ShadowClients], tuple[Answer, ...]]
    ) -> Guess:
        started = time.perf_counter()
        answers = () if why or shadows is None else run(shadows)
        refused = why or ("" if answers else "no client took part in all rounds that are looked at")
        shared = spent.pop() if answers and spent else 0.0
        return Guess(NAME, method, scope, answers, refused, shared + time.perf_counter() - started)

    single, together = Scope.UPLOADS, Scope.AGGREGATE
    return (
        each(
            MEMBERSHIP, single, lacks or only_sums or no_pool, lambda s: _members(recorded, s, texts, single)
        ),
        each(MEMBERSHIP, together, lacks or no_pool, lambda s: _members(recorded, s, texts, together)),
        each(LABELS, single, lacks or only_sums or no_classes, lambda s: _labels(knowledge, recorded, s)),
        each(LINKED, single, lacks or only_sums or once, lambda s: _links(recorded, s)),
    )


def _lacks(knowledge: Knowledge, recorded: Recorded) -> str:
    if knowledge.colluding and recorded.rounds and not recorded.rounds[0].moves:
        return _NOT_TAKEN_OFF
    if any(each.number not in knowledge.plans for each in recorded.rounds):
        return "nothing says how clients calibrate: the recording came without a configuration"
    return _needs(knowledge)


def _needs(knowledge: Knowledge) -> str:
    needs = [Capability.PUBLIC_TEXTS]
    if knowledge.task.n_classes:
        needs += [Capability.LABELLED_PUBLIC_TEXTS, Capability.CLASSES]
    return knowledge.lacks(needs) or ""


# ---- membership


def _gradients(
    backbone: Backbone, knowledge: Knowledge, recorded: Recorded, shadows: ShadowClients
) -> tuple[list[Movement], list[Floats]]:
    """For each round how gradients move a client, and what each candidate would move one."""
    public = gradients(backbone, knowledge, recorded, knowledge.public, "gradients of public texts")
    pool = gradients(backbone, knowledge, recorded, knowledge.pool, "gradients of candidates")
    movements = [
        Movement.of(moves, own[shadows.texts].mean(axis=1))
        for moves, own in zip(shadows.moves, public, strict=True)
    ]
    shifts = [m.shifts(own, shadows.examples) for m, own in zip(movements, pool, strict=True)]
    return movements, shifts


def _members(
    recorded: Recorded,
    shadows: ShadowClients,
    texts: tuple[list[Movement], list[Floats]] | None,
    scope: Scope,
) -> tuple[Answer, ...]:
    assert texts is not None
    movements, shifts = texts
    if scope is Scope.AGGREGATE:
        clients = recorded.rounds[0].clients
        rng = np.random.default_rng(clients)
        # A shadow of the mean is a mean of shadows; each of them serves in many.
        drawn = rng.integers(len(shadows.texts), size=(max(64, len(shadows.texts)), clients))
        seen, beside = np.zeros(len(shifts[0])), np.zeros((len(shifts[0]), len(drawn)))
        for each, movement, own, moves in zip(recorded.rounds, movements, shifts, shadows.moves, strict=True):
            assert each.mean is not None
            seen += movement.ratios(own, each.mean[None], clients)[:, 0]
            beside += movement.ratios(own, moves[drawn].mean(axis=1), clients)
        return (Answer(Who(None), as_scores(beside_shadows(seen, beside))),)
    beside_each = [
        m.ratios(own, moves) for m, own, moves in zip(movements, shifts, shadows.moves, strict=True)
    ]
    found = []
    for client in sorted({number for each in recorded.rounds for number in each.moves}):
        took_part = [i for i, each in enumerate(recorded.rounds) if client in each.moves]
        own_moves = [recorded.rounds[i].moves[client][None] for i in took_part]
        total = sum(
            movements[i].ratios(shifts[i], move)[:, 0] for i, move in zip(took_part, own_moves, strict=True)
        )
        scores = beside_shadows(np.asarray(total), np.asarray(sum(beside_each[i] for i in took_part)))
        found.append(Answer(Who(client), as_scores(scores)))
    return tuple(found)


# ---- noised sums of gradients


def _of_gradients(view: ServerView, backbone: Backbone, knowledge: Knowledge) -> tuple[Guess, ...]:
    rounds = read_gradient_sums(view, backbone, knowledge.declared.gradients)
    lacks = rounds.refused or _needs(knowledge) or knowledge.lacks([Capability.POOL]) or ""
    about: dict[Scope, dict[Who, Sums]] = {
        Scope.UPLOADS: {Who(n): sums for n, sums in sorted(rounds.singles.items())},
        Scope.AGGREGATE: {Who(None): rounds.together} if rounds.together else {},
    }
    whose = [who for each in about.values() for who in each if who in knowledge.others]
    table = None if lacks else _Table.of(backbone, knowledge, rounds, whose)
    found = []
    for scope, sums in about.items():
        why = lacks or ("" if sums else f"the view holds no noised gradients of {scope}")
        if scope is Scope.AGGREGATE and knowledge.colluding:
            why = why or _NOT_TAKEN_OFF
        unknown = "" if set(sums) <= set(whose) else "not of every sum the others are known"
        for method, refused in (
            (GRADIENTS, why),
            (STRONG, why or knowledge.lacks([Capability.OTHERS]) or unknown),
        ):
            started = time.perf_counter()
            answers: tuple[Answer, ...] = ()
            if table is not None and not refused:
                others = knowledge.others if method == STRONG else None
                scored = table.scores(rounds, sums, others)
                answers = tuple(Answer(who, as_scores(values)) for who, values in scored.items())
            found.append(Guess(NAME, method, scope, answers, refused, time.perf_counter() - started))
        if scope is Scope.UPLOADS:
            noise = "sums of gradients come with noise, and no label mix and no client is read off them here"
            found += [Guess(NAME, method, scope, (), why or noise, 0.0) for method in (LABELS, LINKED)]
    return tuple(found)


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """Gradients of all texts that are asked for, each text once.

    Attributes:
        candidates: of the pool, ``[points, n, 4 layers]``.
        public: of public texts, likewise.
        rows: of the pool, and of known examples that are not in it.
        places: where each text's row is.
        keys: of the pool.
    """

    candidates: Floats
    public: Floats
    rows: Floats
    places: Mapping[Key, int]
    keys: tuple[Key, ...]

    @classmethod
    def of(
        cls, backbone: Backbone, knowledge: Knowledge, rounds: GradientRounds, whose: Sequence[Who]
    ) -> _Table:
        def read(texts: Sequence[Example], stage: str) -> Floats:
            return gradients(backbone, knowledge, rounds.points, texts, stage)

        keys = tuple(map(key_of, knowledge.pool))
        known = {key_of(e): e for who in whose for e in knowledge.others[who].examples}
        strangers = {key: e for key, e in known.items() if key not in set(keys)}
        rows = candidates = read(knowledge.pool, "gradients of candidates")
        if strangers:
            own = read(tuple(strangers.values()), "gradients of known examples")
            rows = np.concatenate([candidates, own], axis=1)
        places = {key: place for place, key in enumerate((*keys, *strangers))}
        return cls(candidates, read(knowledge.public, "gradients of public texts"), rows, places, keys)

    def scores(
        self, rounds: GradientRounds, about: Mapping[Who, Sums], others: Mapping[Who, Others] | None
    ) -> dict[Who, Floats]:
        """Of every candidate; NaN for those that are known."""
        if others is None:
            return ratios(rounds, about, self.candidates, self.public)
        same = {who: [key_of(example) for example in others[who].examples] for who in about}
        known = {who: self.rows[:, [self.places[key] for key in keys]] for who, keys in same.items()}
        found = ratios(rounds, about, self.candidates, self.public, known)
        taken = {who: set(keys) for who, keys in same.items()}
        return {
            who: np.where([key in taken[who] for key in self.keys], np.nan, values)
            for who, values in found.items()
        }


# ---- labels, and links


def _in_all(recorded: Recorded) -> list[int]:
    return sorted(set.intersection(*(set(each.moves) for each in recorded.rounds)))


def _labels(knowledge: Knowledge, recorded: Recorded, shadows: ShadowClients) -> tuple[Answer, ...]:
    clients = _in_all(recorded)
    if not clients:
        return ()
    classes = knowledge.task.n_classes
    held = np.array([example.label for example in knowledge.public])[shadows.texts]
    mixes = np.stack([(held == label).mean(axis=1) for label in range(classes)], axis=1)
    moves = np.stack([[each.moves[client] for client in clients] for each in recorded.rounds])
    found = label_shares(shadows, mixes, moves)
    examples = shadows.examples
    return tuple(
        Answer(Who(client), Histogram(tuple(map(float, shares)), examples))
        for client, shares in zip(clients, found, strict=True)
    )


def _links(recorded: Recorded, shadows: ShadowClients) -> tuple[Answer, ...]:
    """Every move of every round but the last is given a move of the next round that is looked at."""
    named: dict[int, list[int]] = {}
    sizes: list[int] = []
    rng = np.random.default_rng(len(recorded.rounds))
    for at, (first, second) in enumerate(zip(recorded.rounds[:-1], recorded.rounds[1:], strict=True)):
        before, after = sorted(first.moves), rng.permutation(sorted(second.moves)).tolist()
        told = same_clients(
            np.stack([first.moves[n] for n in before]),
            np.stack([second.moves[n] for n in after]),
            (shadows.moves[at], shadows.moves[at + 1]),
        )
        for client, index in zip(before, told, strict=True):
            # Who does not come again cannot be found again.
            if client in second.moves:
                named.setdefault(client, []).append(after[index])
        sizes.append(len(after))
    return tuple(
        Answer(Who(client), Links(tuple(numbers), max(sizes))) for client, numbers in sorted(named.items())
    )


if __name__ == "__main__":
    from attacks._program.launch import main

    raise SystemExit(main(NAME))
