"""Guesses and findings as JSON, every text and word as the caller has it shown.

The invariant: a private text or word leaves here only through ``shown``, which hashes it unless it is to be revealed.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from attacks._base.attack import (
    Answer,
    Attribute,
    Bag,
    Content,
    Fillers,
    Guess,
    Histogram,
    Links,
    Members,
    Scores,
    Source,
)
from attacks._judging.finding import Finding
from attacks._judging.judge import curves_of
from attacks._judging.score import Subject
from attacks._readings.readings import told_of

if TYPE_CHECKING:
    from attacks._program.launch import Attacked

SCHEMA = 2


def shows(reveal: bool) -> Callable[[str], str]:
    """What stands for a text in one report: itself where it is revealed, else a keyed hash.

    Equal texts have equal hashes within one report, and the key is thrown away, so that nobody can try names out.
    """
    key = secrets.token_bytes(16)
    return lambda text: text if reveal else hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:12]


def to_json(made: Attacked, *, reveal: bool = False) -> dict[str, Any]:
    """Findings and guesses as JSON.

    Without ``reveal``, texts and words are replaced by keyed hashes (see `shows`).
    """
    shown = shows(reveal)
    subject = made.readings[-1].subject
    knowledge, findings = subject.knowledge, made.findings
    pairs = list(zip(made.readings, made.guesses, strict=True))
    return {
        "schema": SCHEMA,
        "attack": findings[0].attack if findings else "",
        "view": {
            "backbone": subject.view.facts.backbone,
            "task": subject.view.facts.task,
            "defense": subject.view.facts.defense.model_dump(mode="json"),
            "server_computes": [str(what) for what in subject.view.facts.server_computes],
            "lacks": subject.lacks,
        },
        "knowledge": {
            "public_texts": len(knowledge.public),
            "provenance": knowledge.provenance,
            "pool": len(knowledge.pool),
            "declared": told_of(made.readings),
            "all_others_known": bool(knowledge.others),
            "colluding": list(knowledge.colluding),
            "shadows": knowledge.shadows,
            "seed": knowledge.seed,
            "read": str(knowledge.sites),
        },
        "scored": subject.truth is not None,
        "revealed": reveal,
        "findings": [finding_to_json(finding) for finding in findings],
        "curves": [curve for reading, guesses in pairs for curve in curves_of(reading.subject, guesses)],
        "guesses": [
            guess_to_json(guess, reading.subject, shown) for reading, guesses in pairs for guess in guesses
        ],
    }


def finding_to_json(finding: Finding) -> dict[str, Any]:
    """One measured number as JSON."""
    return {
        "method": finding.method,
        "scope": str(finding.scope),
        "metric": finding.metric,
        "value": finding.value,
        "interval": list(finding.interval) if finding.interval else None,
        "vectors": finding.vectors,
        "controls": dict(finding.controls),
        "gain": asdict(finding.gain) if finding.gain else None,
        "verdict": str(finding.verdict) if finding.verdict is not None else None,
        "why": finding.why,
    }


def guess_to_json(guess: Guess, subject: Subject, shown: Callable[[str], str]) -> dict[str, Any]:
    """One method's guesses as JSON, every text and word as ``shown`` has it."""

    def content(of: Content) -> dict[str, Any]:
        match of:
            case Bag():
                words = [str(subject.backbone.tokenizer.decode([token])) for token in of.ranked[: of.chosen]]
                return {"words": [shown(word) for word in words]}
            case Members():
                texts = [shown(subject.knowledge.pool[i].text) for i in of.ranked[: of.chosen]]
                return {"certain": of.certain, "texts": texts}
            case Fillers():
                rows = zip(of.slots, of.ranked, of.chosen, strict=True)
                return {
                    "fillers": {slot: [shown(each) for each in row[:number]] for slot, row, number in rows}
                }
            case Scores():
                # The highest hundredth, as texts; the scores of all would tell an order that nobody asked for.
                ranked = sorted(
                    (i for i, value in enumerate(of.values) if value == value), key=lambda i: -of.values[i]
                )
                first = ranked[: max(1, len(ranked) // 100)]
                texts = [shown(subject.knowledge.pool[i].text) for i in first]
                return {"texts": texts, "scores": [of.values[i] for i in first]}
            case Source():
                return {"texts": [shown(subject.knowledge.pool[i].text) for i in sorted(of.claimed)]}
            case Links():
                return {"named": list(of.named), "clients": of.clients}
            case Attribute():
                return {"attribute": of.name, "mix": dict(zip(of.values, of.shares, strict=True))}
            case Histogram():
                return {"shares": list(of.shares), "examples": of.examples}
            case _:
                texts = [shown(str(subject.backbone.tokenizer.decode(list(ids)))) for ids in of.texts]
                return {"certain": of.certain, "texts": texts}

    return {
        "method": guess.method,
        "scope": str(guess.scope),
        "refused": guess.refused,
        "seconds": round(guess.seconds, 3),
        **({"facts": dict(guess.facts)} if guess.facts else {}),
        "forwards": sum(answer.forwards for answer in guess.answers),
        "answers": [
            {"who": str(answer.who), **_forwards(answer), **content(answer.content)}
            for answer in guess.answers
        ],
    }


def _forwards(answer: Answer) -> dict[str, int]:
    return {"forwards": answer.forwards} if answer.forwards else {}
