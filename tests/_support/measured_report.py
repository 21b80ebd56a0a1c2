"""A sample report with everything that stands beside scores. Every number is invented."""

from __future__ import annotations

from dataclasses import replace

from sample_report import classification_report

from ifedpriv.report.schema import (
    Estimate,
    FairnessRecord,
    MembershipRecord,
    NumberError,
    PerRound,
    Report,
    TargetRecord,
)


def fairness(worst: float = 0.41, **changes: object) -> FairnessRecord:
    fields: dict[str, object] = {
        "clients": 8,
        "mean": 0.62,
        "worst": worst,
        "best": 0.93,
        "bottom_decile": worst,
        "std": 0.15,
        "variance": 0.0225,
        "parity": 0.311,
        "parity_perfect": 0.522,
        "parity_over": "groups",
        "odds": 0.27,
    }
    return FairnessRecord(**(fields | changes))


def estimate(value: float, half: float = 0.05) -> Estimate:
    return Estimate(value, value - half, value + half, 0.95, "Clopper-Pearson")


def membership() -> MembershipRecord:
    return MembershipRecord(
        measured=True,
        why="",
        members=88,
        others=88,
        shadow=176,
        threshold=1.25,
        advantage=estimate(0.137, 0.2),
        true_rate=estimate(0.6),
        false_rate=estimate(0.463),
        auc=estimate(0.571),
        true_rate_at_1_percent=estimate(0.023, 0.01),
    )


def measured_report(**changes: object) -> Report:
    """The sample run, with numbers, fairness, membership, rounds and a target that was reached."""
    base = classification_report()
    rows = tuple(
        replace(
            row,
            fairness=fairness(0.2 + 0.05 * place),
            numbers=NumberError(2.5 - 0.3 * place, 2.0 - 0.3 * place, 3.0, 0.95, "bootstrap", 500, place, 1),
        )
        for place, row in enumerate(base.rows)
    )
    content: dict[str, object] = {
        "rows": rows,
        "per_round": PerRound(8, 0.0012, 0.0034, 0.0096, 0.0272, 0.04, 0.0, 96.5),
        "membership": membership(),
        "target": TargetRecord(0.75, True, 5, 0.048, 0.136, 3860, 7, 0.83),
        "signatures": {"bleu": "nrefs:1|tok:13a"},
    }
    return replace(base, **(content | changes))
