"""Tables of curves of accuracy against epsilon, as `ifedpriv curve` wrote them (``results/curve*.json``)."""

from __future__ import annotations

from functools import partial

from _sweep import RESULTS
from _tables import markdown

from defenses.decimals import at_most
from ifedpriv.report import wording
from ifedpriv.report.curve import Curve, Level
from ifedpriv.report.parts import PUBLIC_MEAN


def load(name: str) -> Curve:
    """One curve."""
    return Curve.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def curve(name: str) -> str:
    """One row a level: accuracy, the public mean's, the vector's share, and what is found in the noised vectors."""
    whole = load(name)
    head = [
        "",
        "seeds",
        "accuracy",
        "with the public mean",
        "share",
        "spent ε",
        "found",
        "loudest",
        "allowed",
    ]
    rows = []
    for level in whole.summary:
        if level.control is None:
            rows.append(_row(whole, level))
    return markdown(head, rows)


def _row(whole: Curve, level: Level) -> list[str]:
    beside = next((s for s in whole.summary if s.control == PUBLIC_MEAN and _place(s) == _place(level)), None)
    name = level.kind if level.epsilon is None else f"{level.unit}, {level.trust}, ε = {level.epsilon:g}"
    attack = level.attack
    return [
        name,
        str(level.seeds),
        level.means[whole.primary_metric].text(),
        "" if beside is None else beside.means[whole.primary_metric].text(),
        "" if level.share is None else wording.share(level.share),
        "" if level.spent_epsilon is None else at_most(level.spent_epsilon, 3),
        *(
            ["", "", ""]
            if attack is None
            else [attack.found.text(), attack.loudest.text(), f"{attack.allowed:.3f}"]
        ),
    ]


def _place(level: Level) -> tuple[str, str | None, str | None, float | None]:
    return level.kind, level.unit, level.trust, level.epsilon


TABLES = {
    "default_curve": partial(curve, "curve"),
    "trusts_curve": partial(curve, "curve_trusts"),
    "clients_curve": partial(curve, "curve_clients"),
}
