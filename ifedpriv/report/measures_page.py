"""The page's section on what stands beside scores: errors, fairness, membership, rounds and targets.

The one invariant: what the terminal says is said here in the same words; the tables only add the other rows.
"""

from __future__ import annotations

from ifedpriv.report import markup, measures_text, wording
from ifedpriv.report.schema import Report


def section(report: Report) -> str:
    """The section's body; empty for a report that has none of it."""
    return (
        _numbers(report)
        + _fairness(report)
        + "".join(
            markup.paragraph(line)
            for line in (
                measures_text.membership_line(report),
                measures_text.per_round_line(report),
                measures_text.target_line(report),
            )
        )
        + "".join(markup.paragraph(line, "soft") for line in measures_text.signature_lines(report))
    )


def _numbers(report: Report) -> str:
    rows = [row for row in report.rows if row.numbers is not None]
    if not rows:
        return ""
    body = [
        [row.name, measures_text.error(row.numbers), measures_text.unread(row.numbers)]
        for row in rows
        if row.numbers is not None
    ]
    caption = (
        "Root mean squared error in the unit of the answers; 0 is best. An answer that is no number counts with the "
        "largest error that the declared range allows, and none is left out."
    )
    return markup.table("Errors of numbers", ["Method", "RMSE", "answers"], body, caption, words_last=True)


def _fairness(report: Report) -> str:
    rows = [(row, row.fairness) for row in report.rows if row.fairness is not None]
    if not rows:
        return ""
    found = rows[0][1]
    heads = ["Method", "worst", "lowest\ntenth", "mean", "best", "standard\ndeviation"]
    with_parity, with_odds = (
        any(getattr(each, name) is not None for _, each in rows) for name in ("parity", "odds")
    )
    heads += ["parity\ndifference"] if with_parity else []
    heads += ["odds\ndifference"] if with_odds else []
    body = []
    for row, each in rows:
        cells = [wording.score(value) for value in (each.worst, each.bottom_decile, each.mean, each.best)]
        cells += [wording.score(each.std)]
        cells += [measures_text.parity(each)] if with_parity else []
        cells += ([wording.NOTHING if each.odds is None else wording.score(each.odds)]) if with_odds else []
        body.append([row.name, *cells])
    caption = (
        f"{wording.capital(wording.metric_name(report.primary_metric))} over {found.clients} clients: a client's score "
        "is that of its group's test texts, weighted to the mix of classes that it holds itself."
    )
    if with_parity:
        caption += (
            f" Parity difference: the largest gap between {found.parity_over} in how often one class is answered; "
            "beside it that of perfect answers, which is above 0 where classes are held unequally."
        )
    return markup.table("Fairness over clients", heads, body, caption)
