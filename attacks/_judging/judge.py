"""What guesses amount to: each compared with the truth of its vector, and with its controls.

The invariant: every mean and every interval is over vectors, and a number never stands without the same number for
guesses that were made without the vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from attacks._base.attack import (
    Answer,
    Attribute,
    Content,
    Guess,
    Members,
    Scope,
    Scores,
    Texts,
)
from attacks._base.space import read
from attacks._base.targets import Target
from attacks._judging.attributes import macro_f1
from attacks._judging.controls import NEAREST, controls_of
from attacks._judging.finding import Finding, Verdict
from attacks._judging.metrics import Truth, measure, told_apart
from attacks._judging.rules import LOW_RATES, RULES, gain_of, interval_of, judge
from attacks._judging.score import Subject
from attacks._judging.truths import Truths
from attacks._judging.words_alone import WORDS
from attacks._statistics.roc import auc_interval, clustered_auc, rate_at, roc
from attacks._texts.wording import Encoder, Text, Wording

PROVED_BY_CHANCE = frozenset({"corpus recall", "AUC"})
"""Metrics whose value on a single vector has a probability under chance."""
UNJUDGED_OF_A_POOL = {"private strings"}
"""Metrics without a verdict where a pool is searched: its texts are known, and recall says how many were told."""


def score(
    subject: Subject,
    guesses: Sequence[Guess],
    targets: Mapping[Scope, Sequence[Target]],
    random: Sequence[Guess] = (),
    among: int = 1,
    truths: Truths | None = None,
) -> tuple[Finding, ...]:
    """What each guess amounts to.

    Args:
        subject: what was attacked.
        guesses: the attack's.
        targets: the vectors of each scope, in the order of the guesses' answers.
        random: the same attack's guesses on a `random_view`.
        among: how many such findings there are of which the worst verdict counts.
        truths: of the same run and pool, where they were asked for before.
    """
    judge_one = _Judge(subject, truths or Truths(subject), among)
    by_name = {(guess.method, guess.scope): guess for guess in random if guess.answers}
    found: list[Finding] = []
    for guess in guesses:
        if guess.refused:
            found.append(_not_evaluable(guess, guess.refused))
        elif subject.truth is None:
            found.append(_not_evaluable(guess, f"guessed and not scored: {subject.why_no_truth}"))
        else:
            control = by_name.get((guess.method, guess.scope))
            found += judge_one.findings(guess, targets[guess.scope], control)
    return tuple(found)


_NOBODY_TO_TELL = "of the pool's candidates all are behind the vector, or none is; give a pool with both"


def _not_evaluable(guess: Guess, why: str) -> Finding:
    vectors = len(guess.answers)
    return Finding(
        guess.attack, guess.method, guess.scope, "", None, None, vectors, (), Verdict.NOT_EVALUABLE, why
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Judge:
    subject: Subject
    truths: Truths
    among: int

    def findings(self, guess: Guess, targets: Sequence[Target], random: Guess | None) -> list[Finding]:
        subject = self.subject
        truths = [self.truths.of(answer.who) for answer in guess.answers]
        # A method may leave vectors out, such as those of too many examples; and what is said of other uploads may have
        # no vector beside it.
        by_who = {target.who: target for target in targets}
        targets = [by_who[answer.who] for answer in guess.answers if answer.who in by_who]
        values = _by_metric([a.content for a in guess.answers], truths)
        if not values:
            return [_not_evaluable(guess, _NOBODY_TO_TELL)]
        contents = controls_of(guess, targets, random, subject.backbone, subject.knowledge)
        if isinstance(guess.answers[0].content, Scores):
            contents[WORDS] = [self.truths.words(truth) for truth in truths]
        controls = {name: _by_metric(made, truths) for name, made in contents.items()}
        values.update(self._cosines([a.content for a in guess.answers], targets, truths))
        for name, made in contents.items():
            controls[name].update(self._cosines(made, targets, truths))
        precision = values.get("corpus precision")
        rows = [measure(answer.content, truth) for answer, truth in zip(guess.answers, truths, strict=True)]
        whose = [str(a.who) for a, row in zip(guess.answers, rows, strict=True) if row or not any(rows)]
        judged = set(RULES) - (UNJUDGED_OF_A_POOL if isinstance(guess.answers[0].content, Members) else set())
        alone = self._alone(guess.answers, truths)
        found = []
        for metric, numbers in values.items():
            beside = {name: made[metric] for name, made in controls.items() if metric in made}
            verdict: Verdict | None = None
            why, gain = "", None
            if metric in judged:
                blind = {name: made for name, made in beside.items() if name != NEAREST}
                own = alone if metric == "AUC" else None
                gain = gain_of(metric, numbers, blind, self.among, own)
                verdict, why = judge(
                    metric,
                    numbers,
                    blind,
                    pool=len(subject.knowledge.pool),
                    precision=float(np.mean(precision)) if metric == "corpus recall" and precision else None,
                    chance=self._chance(guess.answers, truths) if metric in PROVED_BY_CHANCE else None,
                    among=self.among,
                    alone=own,
                )
            means = tuple((name, float(np.mean(made))) for name, made in sorted(beside.items()))
            found.append(
                Finding(
                    guess.attack,
                    guess.method,
                    guess.scope,
                    metric,
                    float(np.mean(numbers)),
                    interval_of(numbers),
                    len(numbers),
                    means,
                    verdict,
                    why,
                    tuple(zip(whose, numbers, strict=True)),
                    gain,
                )
            )
        if isinstance(guess.answers[0].content, Attribute):
            found += macro_f1(guess, truths, contents)
        return found

    def _cosines(
        self, contents: Sequence[Content], targets: Sequence[Target], truths: Sequence[Truth]
    ) -> dict[str, list[float]]:
        """How near whole texts come in meaning: by the model that is attacked, and by an encoder of its own."""
        return {**self._encoded(contents, targets), **self._by_words(contents, truths)}

    def _by_words(self, contents: Sequence[Content], truths: Sequence[Truth]) -> dict[str, list[float]]:
        texts = [content for content in contents if isinstance(content, Texts)]
        space = self.truths.word_space() if texts and len(texts) == len(contents) else None
        if space is None:
            return {}
        pairs = zip(texts, truths, strict=True)
        return {"cosine, words": [space.alike(one.texts, truth.texts, truth.decode) for one, truth in pairs]}

    def _encoded(self, contents: Sequence[Content], targets: Sequence[Target]) -> dict[str, list[float]]:
        """How the model sees guessed texts with labels beside the vector: cosine about the mean of public texts."""
        knowledge, backbone = self.subject.knowledge, self.subject.backbone
        texts = [content for content in contents if isinstance(content, Texts) and content.labels]
        if len(texts) < len(contents) or not knowledge.public:
            return {}
        wording = Wording.of(backbone, knowledge)
        encode = Encoder(backbone, knowledge, wording)
        centre = read(backbone, knowledge, knowledge.public, "reading public texts").mean(axis=0)
        found = []
        for content, target in zip(texts, targets, strict=True):
            shown = [
                Text(wording.whole(tokens), label)
                for tokens, label in zip(content.texts, content.labels, strict=True)
            ]
            made, seen = encode(shown).mean(axis=0) - centre, target.vector - centre
            length = float(np.linalg.norm(made) * np.linalg.norm(seen))
            found.append(float(np.sum(made * seen)) / max(length, 1e-30))
        return {"cosine, re-encoded": found}

    def _alone(self, answers: Sequence[Answer], truths: Sequence[Truth]) -> tuple[float, float] | None:
        """For scores against a single vector, an interval of the AUC over other texts (DeLong's)."""
        content = answers[0].content
        if len(answers) != 1 or not isinstance(content, Scores):
            return None
        sides = told_apart(content, truths[0].members)
        if not all(map(len, sides)):
            return None
        found = auc_interval(*sides, level=1 - 0.05 / self.among)
        return found.low, found.high

    def _chance(self, answers: Sequence[Answer], truths: Sequence[Truth]) -> float | None:
        """For a single vector: how likely a blind choice of as many candidates holds as many members or more.

        For scores, how likely members rank as high or higher in a random order (Mann and Whitney's test).
        """
        content, truth = answers[0].content, truths[0]
        if len(answers) == 1 and isinstance(content, Scores):
            sides = told_apart(content, truth.members)
            return (
                float(stats.mannwhitneyu(*sides, alternative="greater").pvalue)
                if all(map(len, sides))
                else None
            )
        if len(answers) != 1 or not isinstance(content, Members):
            return None
        hits = len(set(content.ranked[: content.chosen]) & truth.members)
        pool = len(self.subject.knowledge.pool)
        return float(stats.hypergeom.sf(hits - 1, pool, len(truth.members), content.chosen))


def _by_metric(contents: Sequence[Content], truths: Sequence[Truth]) -> dict[str, list[float]]:
    rows = [measure(content, truth) for content, truth in zip(contents, truths, strict=True)]
    # A vector of which the pool holds nobody has nothing to measure, for the attack and for its controls alike.
    rows = [row for row in rows if row] or rows
    shared = [name for name in rows[0] if all(name in row for row in rows)]
    return {name: [row[name] for row in rows] for name in shared}


def curves_of(subject: Subject, guesses: Sequence[Guess]) -> list[dict[str, object]]:
    """For every guess that is scores: the ROC over all vectors together, as points for logarithmic axes.

    The area's interval is a bootstrap over vectors; those of rates are Clopper and Pearson's at the threshold, and say
    whether there were candidates enough to certify so low a false positive rate at all. Nothing without the truth.
    """
    if subject.truth is None:
        return []
    truths = Truths(subject)
    found: list[dict[str, object]] = []
    for guess in guesses:
        rows = [
            (told_apart(answer.content, truths.of(answer.who).members), number)
            for number, answer in enumerate(guess.answers)
            if isinstance(answer.content, Scores)
        ]
        members, others = ([side[i] for side, _ in rows] for i in (0, 1))
        if not rows or not sum(map(len, members)) or not sum(map(len, others)):
            continue
        one, other = np.concatenate(members), np.concatenate(others)
        clusters = np.concatenate([[n] * len(side[i]) for i in (0, 1) for side, n in rows])
        area, interval = clustered_auc(
            np.concatenate([one, other]), np.arange(len(one) + len(other)) < len(one), clusters
        )
        rates = [rate_at(one, other, target) for target in LOW_RATES.values()]
        candidates = len(subject.knowledge.pool)
        found.append(
            {
                "method": guess.method,
                "scope": str(guess.scope),
                "auc": area,
                "interval": [interval.low, interval.high],
                "how": interval.method,
                "members": len(one),
                "others": len(other),
                "rates": [
                    {
                        "false_positive_rate": rate.target,
                        "value": rate.value,
                        "interval": [rate.interval.low, rate.interval.high],
                        # Scores of one candidate against many vectors are no new candidates.
                        "enough": candidates >= rate.needed,
                        "needed": rate.needed,
                    }
                    for rate in rates
                ],
                "points": roc(one, other).points(),
            }
        )
    return found
