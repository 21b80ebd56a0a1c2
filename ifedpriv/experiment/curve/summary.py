"""From points to the finished curve: means and Student's intervals over seeds, in the order of the configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from defenses.accounting.tradeoff import pair_tpr
from ifedpriv.experiment.curve.config import CurveConfig
from ifedpriv.experiment.curve.keys import ZERO_SHOT, Key
from ifedpriv.experiment.figures import ACCURACY, EXACT_MATCH, LEVEL, vector_share
from ifedpriv.measure.intervals import t_interval
from ifedpriv.measure.share import share_over_seeds
from ifedpriv.methods.specs import IfedIclSpec
from ifedpriv.report.attack_points import FALSE_ALARMS, AttackLevel, AttackPoint
from ifedpriv.report.control_records import VectorShare
from ifedpriv.report.curve import Curve, CurvePoint, Level
from ifedpriv.report.mean import Mean
from ifedpriv.report.parts import PUBLIC_MEAN

Place = tuple[str, str | None, str | None, float | None, str | None]
"""Kind, unit, trust, epsilon and control: what the points of a level have in common."""


def build_curve(config: CurveConfig, lines: Mapping[Key, Mapping[str, Any]]) -> Curve:
    """The curve of a configuration, all of whose points have been measured."""
    points = [_point(lines[key]) for key in config.all_keys()]
    levels: dict[Place, list[CurvePoint]] = {}
    for point in points:
        levels.setdefault(_place(point), []).append(point)
    metric = ACCURACY if ACCURACY in points[0].metrics else EXACT_MATCH
    privacy = config.run.defense.privacy
    assert privacy is not None
    return Curve(
        name=config.name,
        config=config.model_dump(mode="json", exclude={"workers"}),
        primary_metric=metric,
        delta=privacy.delta,
        interval_level=LEVEL,
        seeds=config.all_seeds,
        points=tuple(points),
        summary=tuple(
            _level(found, _share(levels, place, metric), privacy.delta) for place, found in levels.items()
        ),
        remarks=_remarks(config),
    )


def _remarks(config: CurveConfig) -> tuple[str, ...]:
    if config.all_controls or not isinstance(config.run.method, IfedIclSpec):
        return config.lacking()
    return ("no controls were measured, so nothing is known of what the vector adds", *config.lacking())


def _place(point: CurvePoint) -> Place:
    return (point.kind, point.unit, point.trust, point.epsilon, point.control)


def _share(levels: Mapping[Place, Sequence[CurvePoint]], place: Place, metric: str) -> VectorShare | None:
    """The vector's share at one budget, where the public mean was measured beside it."""
    kind, unit, trust, epsilon, control = place
    beside = levels.get((kind, unit, trust, epsilon, PUBLIC_MEAN))
    if control is not None or beside is None:
        return None
    bare = levels[(ZERO_SHOT, None, None, None, None)]
    # All three are in the order of the seeds.
    ours, public, plain = (
        [point.metrics[metric] for point in found] for found in (levels[place], beside, bare)
    )
    return vector_share(share_over_seeds(ours, public, plain, LEVEL))


def _point(line: Mapping[str, Any]) -> CurvePoint:
    return CurvePoint.from_json({name: value for name, value in line.items() if name != "curve"})


def _level(points: Sequence[CurvePoint], share: VectorShare | None, delta: float) -> Level:
    first = points[0]
    attacks = [point.attack for point in points if point.attack is not None]
    spent = [point.spent_epsilon for point in points if point.spent_epsilon is not None]
    verdicts = [point.guard for point in points if point.guard is not None]
    return Level(
        first.kind,
        first.unit,
        first.trust,
        first.epsilon,
        {name: _mean([point.metrics[name] for point in points]) for name in first.metrics},
        len(points),
        max(spent) if spent else None,
        sum(verdicts) if verdicts else None,
        first.control,
        share,
        _attacked(attacks, first.epsilon, delta) if attacks and first.epsilon is not None else None,
    )


def _attacked(found: Sequence[AttackPoint], epsilon: float, delta: float) -> AttackLevel:
    return AttackLevel(
        _mean([each.found for each in found]),
        _mean([each.loudest_found for each in found]),
        pair_tpr(FALSE_ALARMS, epsilon, delta),
    )


def _mean(values: Sequence[float]) -> Mean:
    value = float(np.mean(values))
    if len(values) == 1:
        return Mean(value, None, None)
    interval = t_interval(values, LEVEL)
    # Equal values have a mean that can leave their interval by a rounding error.
    return Mean(value, max(min(interval.low, value), 0.0), min(max(interval.high, value), 1.0))
