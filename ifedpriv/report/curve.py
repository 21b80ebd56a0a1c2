"""A curve as records, ``curve.json``, ``curve.csv`` and a table, with one wording of what its numbers mean.

The one invariant: table, figure and files tell the same numbers, and each says whose presence epsilon hides, at which
delta, what the intervals cover, and that nobody was protected by a simulation.
"""

from __future__ import annotations

import csv
import io
import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from defenses.decimals import at_most
from ifedpriv.errors import InputError
from ifedpriv.report import attack_points, wording
from ifedpriv.report.attack_points import AttackLevel, AttackPoint
from ifedpriv.report.control_records import VectorShare
from ifedpriv.report.mean import Mean
from ifedpriv.report.records import FieldError, Record, text_to_json

SCHEMA_VERSION = 1
_WIDTH = 80
_SHARE = 22
_TRUSTS = {
    "central": "noise added by a trusted server",
    "distributed": "noise added by the clients together",
    "local": "noise added by each client for itself",
}


@dataclass(frozen=True, slots=True)
class CurvePoint(Record):
    """One measured run.

    Attributes:
        kind: ``private``, ``no privacy`` or ``zero-shot``.
        seed: of texts, clients, batches, failures and noise.
        unit, trust, epsilon: whose presence is hidden, who adds the noise, the budget; None where there is none.
        metrics: name to value, over all queries.
        queries: test texts.
        spent_epsilon, spent_delta: what the accounting makes of what was released.
        noise: kind of upload to standard deviation of the noise over what one unit can move.
        rounds: how many were played.
        guard: whether the guard found the injection better than the bare model; None without a guard.
        task, task_hash, queries_hash, backbone: what was asked, in which wording, of which texts and model.
        versions: of everything that may change a number.
        processor_seconds: spent on this point alone; what a process had from earlier points is not in it.
        control: whose vector took the place of the run's own; None for the run itself.
        attack: what is found in the noised vectors of a private run; None for other points, and where nobody looked.
    """

    OPTIONAL: ClassVar[tuple[str, ...]] = ("control", "attack")

    kind: str
    seed: int
    unit: str | None
    trust: str | None
    epsilon: float | None
    metrics: Mapping[str, float]
    queries: int
    spent_epsilon: float | None
    spent_delta: float | None
    noise: Mapping[str, float]
    rounds: int
    guard: bool | None
    task: str
    task_hash: str
    queries_hash: str
    backbone: str
    versions: Mapping[str, str]
    processor_seconds: float
    control: str | None = None
    attack: AttackPoint | None = None


@dataclass(frozen=True, slots=True)
class Level(Record):
    """The points that differ in their seed alone.

    Attributes:
        kind, unit, trust, epsilon: as those of the points.
        means: metric to mean.
        seeds: how many points there are.
        spent_epsilon: the largest that was accounted for.
        accepted: how many the guard found better than the bare model; None without a guard.
        control: as that of the points.
        share: the vector's; None for the bare model, for controls, and where there is no public mean beside the runs.
        attack: what was found in the points' noised vectors; None where nobody looked.
    """

    OPTIONAL: ClassVar[tuple[str, ...]] = ("control", "share", "attack")

    kind: str
    unit: str | None
    trust: str | None
    epsilon: float | None
    means: Mapping[str, Mean]
    seeds: int
    spent_epsilon: float | None
    accepted: int | None
    control: str | None = None
    share: VectorShare | None = None
    attack: AttackLevel | None = None


@dataclass(frozen=True, slots=True)
class Curve(Record):
    """Everything that was measured, and what it comes to.

    Attributes:
        name: of the curve.
        config: as it was resolved.
        primary_metric: the one that is drawn.
        delta: of every private point.
        interval_level: what the intervals aim to cover.
        seeds: all of them.
        points: in the order of the results.
        summary: over seeds, in the same order.
        schema_version: of this format.
        remarks: what a reader should be told, one sentence each.
    """

    OPTIONAL: ClassVar[tuple[str, ...]] = ("remarks",)
    LEVELS: ClassVar[tuple[str, ...]] = ("private", "no privacy", "zero-shot")

    name: str
    config: object
    primary_metric: str
    delta: float
    interval_level: float
    seeds: tuple[int, ...]
    points: tuple[CurvePoint, ...]
    summary: tuple[Level, ...]
    schema_version: int = SCHEMA_VERSION
    remarks: tuple[str, ...] = ()

    def check(self) -> None:
        """Every point is of one task and model, and every level has the metric that is drawn."""
        if self.schema_version != SCHEMA_VERSION:
            raise FieldError(
                "schema_version", f"is {self.schema_version}; this program reads {SCHEMA_VERSION}"
            )
        if not self.points or len({(p.task_hash, p.backbone) for p in self.points}) > 1:
            raise FieldError("points", "are none, or of different tasks or models")
        for number, level in enumerate(self.summary):
            if level.kind not in self.LEVELS or self.primary_metric not in level.means:
                raise FieldError(f"summary[{number}]", f"has no kind, or no {self.primary_metric}")

    def dumps(self) -> str:
        """``curve.json``."""
        return json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n"

    @classmethod
    def loads(cls, text: str) -> Curve:
        """The inverse of `dumps`.

        Raises:
            InputError: it is none.
        """
        try:
            return cls.from_json(text_to_json(text))
        except FieldError as error:
            raise InputError(f"curve.json: {error.message}", error.hint) from error

    def levels(
        self, kind: str, unit: str | None = None, trust: str | None = None, control: str | None = None
    ) -> tuple[Level, ...]:
        """The levels of one line of the figure."""
        wanted = (kind, unit, trust, control)
        return tuple(s for s in self.summary if (s.kind, s.unit, s.trust, s.control) == wanted)

    def controls(self) -> tuple[str, ...]:
        """The controls that stand beside the runs, in their order."""
        return tuple(dict.fromkeys(level.control for level in self.summary if level.control))

    def lines(self) -> list[tuple[str, str]]:
        """Unit and trust of each private line."""
        found = {(s.unit, s.trust): None for s in self.summary if s.unit and s.trust}
        return [(unit, trust) for unit, trust in found if unit and trust]


def line_name(unit: str, trust: str) -> str:
    """A private line in few words."""
    return f"one {unit} hidden, {trust} trust"


def caption(curve: Curve) -> list[str]:
    """What the numbers mean, in sentences; ASCII."""
    units = dict.fromkeys(unit for unit, _ in curve.lines())
    trusts = dict.fromkeys(trust for _, trust in curve.lines())
    hidden = " or ".join(f"one {unit}" for unit in units)
    seeds = len(curve.seeds)
    level = wording.percent(curve.interval_level)
    one_test = len({point.queries_hash for point in curve.points}) == 1
    intervals = (
        f"Means over {seeds} seeds with {level} Student-t intervals, which cover other seeds: other "
        f"{'clients' if one_test else 'texts, clients'}, batches and noise"
        f"{', and no other test texts, which are the same for all.' if one_test else '.'}"
        if seeds > 1
        else "One seed, and so no interval: a second one could look different."
    )
    said = [
        f"epsilon bounds a whole run, all of its releases together, at delta {curve.delta:g}: what it may tell about "
        f"{hidden} that is there or not (add or remove).",
        f"Trust: {'; '.join(f'{trust}, {_TRUSTS.get(trust, trust)}' for trust in trusts)}.",
        intervals,
        "Simulated: noise is drawn from seeds, which protects nobody.",
    ]
    if curve.controls():
        said.append(
            "Controls: calibrated as the runs are, with the same budget and noise, on another vector than the clients'."
        )
    said += [wording.sentence(wording.capital(wording.printable(remark))) for remark in curve.remarks]
    versions = {tuple(sorted(point.versions.items())) for point in curve.points}
    if len(versions) > 1:
        said.append("Warning: points were measured with different versions of the software.")
    return said


def to_csv(curve: Curve) -> str:
    """``curve.csv``: one row a point, no clock in it; the budget of runs without privacy is inf."""
    metrics = sorted({name for point in curve.points for name in point.metrics})
    kinds = sorted({name for point in curve.points for name in point.noise})
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = ["kind", "unit", "trust", "epsilon", "seed", "control", *metrics, "queries"]
    head += ["spent_epsilon", "spent_delta", *(f"noise_{kind}" for kind in kinds), "rounds", "guard", "task"]
    looked = any(point.attack for point in curve.points)
    found = ["found", "loudest_found", "allowed"] if looked else []
    writer.writerow([*head, "share", "share_low", "share_high", *found])
    # The share is of all seeds of a level together, and stands in the row of each.
    levels = {(s.kind, s.unit, s.trust, s.epsilon, s.control): s for s in curve.summary}
    for p in curve.points:
        epsilon = "inf" if p.kind == "no privacy" else p.epsilon
        row = [p.kind, p.unit, p.trust, epsilon, p.seed, p.control]
        row += [p.metrics.get(name) for name in metrics]
        row += [p.queries, p.spent_epsilon, p.spent_delta, *(p.noise.get(kind) for kind in kinds)]
        guard = None if p.guard is None else str(p.guard).lower()
        level = levels[p.kind, p.unit, p.trust, p.epsilon, p.control]
        share, attack = level.share, level.attack
        row += [p.rounds, guard, p.task, *((share.value, share.low, share.high) if share else [None] * 3)]
        if found and p.attack and attack:
            row += [p.attack.found, p.attack.loudest_found, attack.allowed]
        elif found:
            row += [None] * len(found)
        writer.writerow(["" if cell is None else cell for cell in row])
    return out.getvalue()


def table(curve: Curve) -> str:
    """The summary for a terminal: lines of at most 80 columns, ASCII."""
    first = curve.points[0]
    metrics = sorted(first.metrics, key=lambda name: name != curve.primary_metric)[:2]
    seeds = "1 seed" if len(curve.seeds) == 1 else f"{len(curve.seeds)} seeds"
    title = f"ifedpriv curve {wording.printable(curve.name)}: task {wording.printable(first.task)}, {seeds}, "
    lines = textwrap.wrap(f"{title}{first.queries} test texts each", _WIDTH - 4)
    head = ["epsilon", *(wording.metric_name(name) for name in metrics), "spent", "guard"]
    for unit, trust in curve.lines():
        lines += [
            "",
            f"One {unit} hidden; {_TRUSTS.get(trust, trust)} ({trust})",
            _row(head),
            _rule(len(head)),
        ]
        shown = (
            *curve.levels("zero-shot"),
            *curve.levels("private", unit, trust),
            *curve.levels("no privacy", unit),
        )
        lines += [_row(_cells(level, metrics)) for level in shown]
        if curve.controls():
            lines += ["", *_controls(curve, shown)]
        attacked = [(f"{level.epsilon:g}", level.attack) for level in shown if level.attack]
        if attacked:
            lines += ["", *attack_points.rows(attacked, wording.percent(curve.interval_level))]
    lines.append("")
    explained = "Spent: the largest accounted epsilon. Guard: seeds whose injection beat the bare model."
    found = attack_points.explained([point.attack for point in curve.points if point.attack])
    for sentence in [*caption(curve), explained, *_share_explained(curve), found]:
        lines += textwrap.wrap(sentence, _WIDTH - 4, subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _cells(level: Level, metrics: Sequence[str]) -> list[str]:
    name = f"{level.epsilon:g}" if level.epsilon is not None else level.kind
    spent = wording.NOTHING if level.spent_epsilon is None else at_most(level.spent_epsilon, 3)
    guard = wording.NOTHING if level.accepted is None else f"{level.accepted}/{level.seeds}"
    return [name, *(level.means[metric].text() for metric in metrics), spent, guard]


def _controls(curve: Curve, shown: Sequence[Level]) -> list[str]:
    """The controls beside the levels that have them, each a mean, and the vector's share there."""
    columns = [(control, wording.CONTROLS[control]) for control in curve.controls()]
    metric = curve.primary_metric
    lines = [f"Controls there, mean {wording.metric_name(metric)}, and the vector's share of the gain"]
    widths = [len(name) for _, name in columns]
    heads = ["epsilon".ljust(10), *(name for _, name in columns)]
    has_share = any(level.share for level in shown)
    heads += [f"share [{wording.percent(curve.interval_level)}]".rjust(_SHARE)] if has_share else []
    lines += ["  ".join(heads), "  ".join("-" * len(head) for head in heads)]
    for level in shown:
        beside = {
            s.control: s.means[metric].value
            for s in curve.summary
            if (s.kind, s.unit, s.trust, s.epsilon) == (level.kind, level.unit, level.trust, level.epsilon)
        }
        if level.kind == "zero-shot":
            continue
        cells = [_cells(level, [metric])[0].ljust(10)]
        cells += [f"{beside[control]:.3f}".rjust(w) for (control, _), w in zip(columns, widths, strict=True)]
        cells += [wording.share(level.share).rjust(_SHARE)] if level.share else []
        lines.append("  ".join(cells))
    return lines


def _share_explained(curve: Curve) -> list[str]:
    """What a share means, and why it is missing where it is."""
    found = [level.share for level in curve.summary if level.share is not None]
    if not found:
        return []
    why = dict.fromkeys(wording.printable(share.why) for share in found if share.value is None)
    made = dict.fromkeys(wording.printable(share.method) for share in found if share.value is not None)
    ways = f" (intervals: {', '.join(made)})" if made else ""
    return [
        "Share: what is lost of the gain over zero-shot with the public mean in the vector's place; 0: nothing, 1: "
        f"all of it{ways}.",
        *(f"A dash in its place: {each}." for each in why),
    ]


def _row(cells: Sequence[str]) -> str:
    name, *middle, spent, guard = cells
    return "  ".join([name.ljust(10), *(cell.rjust(20) for cell in middle), spent.rjust(7), guard.rjust(6)])


def _rule(columns: int) -> str:
    widths: Iterable[int] = (10, *([20] * (columns - 3)), 7, 6)
    return "  ".join("-" * width for width in widths)
