"""How well the commonest value of an attribute is told for each vector: macro-F1, which is a number of all vectors.

The invariant: the controls' macro-F1 is computed on the very vectors that the attack's is, in every bootstrap sample.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from attacks._base.attack import Attribute, Content, Guess
from attacks._judging.finding import Finding, Gain, Verdict
from attacks._judging.metrics import Truth, commonest
from attacks._judging.rules import ENOUGH_TO_CLAIM, ENOUGH_TO_CLEAR, INDIFFERENT
from ifedpriv.data.task import Example

METRIC = "macro-F1"
BETTER = 0.1
"""What macro-F1 must have above the best control's to be called working."""
SEVERE = 0.9
_DRAWS = 2000


def attributes_of(examples: Sequence[Example]) -> dict[str, dict[str, int]]:
    """Of each attribute that all examples have, how many have each value."""
    names = set.intersection(*(set(example.attributes) for example in examples)) if examples else set()
    return {name: dict(Counter(example.attributes[name] for example in examples)) for name in sorted(names)}


def macro_f1(
    guess: Guess, truths: Sequence[Truth], controls: Mapping[str, Sequence[Content]]
) -> list[Finding]:
    """The finding on the commonest values of all vectors; nothing where no vector's texts have the attribute."""
    first = guess.answers[0].content
    assert isinstance(first, Attribute)
    at = [i for i, truth in enumerate(truths) if truth.attributes.get(first.name)]
    if not at:
        return []
    true = [commonest(truths[i].attributes[first.name]) for i in at]
    said = _likeliest([guess.answers[i].content for i in at])
    beside = {name: _likeliest([made[i] for i in at]) for name, made in controls.items()}
    value = f1(true, said)
    numbers = {name: f1(true, made) for name, made in beside.items()}
    best = max(numbers, key=lambda name: numbers[name])
    rng = np.random.default_rng(0)
    drawn = [rng.integers(len(at), size=len(at)) for _ in range(_DRAWS)] if len(at) > 1 else []
    of_attack = [f1(_take(true, rows), _take(said, rows)) for rows in drawn]
    of_best = [f1(_take(true, rows), _take(beside[best], rows)) for rows in drawn]
    interval = _interval(of_attack)
    gain = _interval([one - other for one, other in zip(of_attack, of_best, strict=True)])
    over = Gain(best, value - numbers[best], gain)
    verdict, why = _verdict(len(at), len(set(true)), value, over)
    return [
        Finding(
            guess.attack,
            guess.method,
            guess.scope,
            METRIC,
            value,
            interval,
            len(at),
            tuple(sorted(numbers.items())),
            verdict,
            why,
            # One vector has no F1; of each stands whether it was told.
            tuple((str(guess.answers[i].who), float(a == b)) for i, a, b in zip(at, true, said, strict=True)),
            over,
        )
    ]


def f1(true: list[str], said: list[str]) -> float:
    """Mean over the values that are true of some vector of the F1 of telling that value."""
    scores = []
    for value in set(true):
        hits = sum(a == b == value for a, b in zip(true, said, strict=True))
        scores.append(2 * hits / (true.count(value) + said.count(value)))
    return float(np.mean(scores))


def _likeliest(contents: Sequence[Content]) -> list[str]:
    return [content.likeliest for content in contents if isinstance(content, Attribute)]


def _take(values: Sequence[str], rows: NDArray[np.int64]) -> list[str]:
    return [values[row] for row in rows]


def _interval(values: Sequence[float]) -> tuple[float, float] | None:
    if not values:
        return None
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def _verdict(vectors: int, values: int, value: float, gain: Gain) -> tuple[Verdict, str]:
    if vectors < ENOUGH_TO_CLAIM or gain.interval is None:
        said = "there is 1 vector" if vectors == 1 else f"there are {vectors} vectors"
        return Verdict.NOT_EVALUABLE, f"{said}, and a claim needs {ENOUGH_TO_CLAIM}"
    if values < 2:
        return (
            Verdict.NOT_EVALUABLE,
            "all vectors have one commonest value, so there is nothing to tell apart",
        )
    low, high = gain.interval
    above = f"above the best control, {gain.control}, by {gain.value:.3g}"
    if low > 0 and gain.value > BETTER:
        said = f"{above}, more than {BETTER}"
        severe = value >= SEVERE
        return (Verdict.SEVERE, f"{said}, and at least {SEVERE}") if severe else (Verdict.WORKS, said)
    if low >= -INDIFFERENT and high <= INDIFFERENT and vectors >= ENOUGH_TO_CLEAR:
        return Verdict.RESISTED, f"within {INDIFFERENT} of the best control, {gain.control}"
    if low > 0:
        return Verdict.INCONCLUSIVE, f"{above}, and short of the threshold of {BETTER}"
    return Verdict.INCONCLUSIVE, f"the interval reaches the best control, {gain.control}"
