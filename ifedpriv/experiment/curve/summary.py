"""From points to the finished curve: means and Student's intervals over seeds, in the order of the configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ifedpriv.experiment.curve.config import CurveConfig
from ifedpriv.experiment.curve.keys import Key
from ifedpriv.experiment.figures import ACCURACY, EXACT_MATCH
from ifedpriv.measure.intervals import t_interval
from ifedpriv.report.curve import Curve, CurvePoint, Level, Mean

LEVEL = 0.95


def build_curve(config: CurveConfig, lines: Mapping[Key, Mapping[str, Any]]) -> Curve:
    """The curve of a configuration, all of whose points have been measured."""
    points = [_point(lines[key]) for key in config.all_keys()]
    levels: dict[tuple[str, str | None, str | None, float | None], list[CurvePoint]] = {}
    for point in points:
        levels.setdefault((point.kind, point.unit, point.trust, point.epsilon), []).append(point)
    privacy = config.run.defense.privacy
    assert privacy is not None
    return Curve(
        name=config.name,
        config=config.model_dump(mode="json", exclude={"workers"}),
        primary_metric=ACCURACY if ACCURACY in points[0].metrics else EXACT_MATCH,
        delta=privacy.delta,
        interval_level=LEVEL,
        seeds=config.all_seeds,
        points=tuple(points),
        summary=tuple(_level(found) for found in levels.values()),
    )


def _point(line: Mapping[str, Any]) -> CurvePoint:
    return CurvePoint.from_json({name: value for name, value in line.items() if name != "curve"})


def _level(points: Sequence[CurvePoint]) -> Level:
    first = points[0]
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
    )


def _mean(values: Sequence[float]) -> Mean:
    value = float(np.mean(values))
    if len(values) == 1:
        return Mean(value, None, None)
    interval = t_interval(values, LEVEL)
    # Equal values have a mean that can leave their interval by a rounding error.
    return Mean(value, max(min(interval.low, value), 0.0), min(max(interval.high, value), 1.0))
