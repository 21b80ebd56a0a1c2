"""What is said beside the scores, in sentences that the table and the page share.

The one invariant: no measure is named without what it has to be read against: a parity difference stands beside that of
perfect answers, an advantage beside what guessing has, a target that was not reached beside where the run ended.
"""

from __future__ import annotations

from ifedpriv.report import wording
from ifedpriv.report.measure_records import Estimate, FairnessRecord, NumberError
from ifedpriv.report.schema import MAIN_ROWS, Report, Row


def lines(report: Report) -> tuple[str, ...]:
    """Everything, one paragraph a measure; those that a run does not have are left out."""
    said = (
        further_scores(report),
        numbers_line(report),
        fairness_line(report),
        membership_line(report),
        per_round_line(report),
        target_line(report),
    )
    return tuple(line for line in said if line)


def main_row(report: Report) -> Row | None:
    """The row of the federated method; where none is known by its name, the last one that costs bytes."""
    named = [row for row in report.rows if row.key in MAIN_ROWS]
    paid = [row for row in report.rows if row.up_bytes_per_client and row.up_bytes_per_client.wire]
    found = named or paid
    return found[-1] if found else None


def further_scores(report: Report, shown: int = 2) -> str:
    """Metrics that the table has no column for."""
    told = []
    for metric in report.metrics()[shown:]:
        each = [
            f"{wording.printable(row.name)} {wording.figure(row.figures[metric])}"
            for row in report.rows
            if metric in row.figures
        ]
        told.append(f"{wording.metric_name(metric)}: {'; '.join(each)}.")
    return " ".join(told)


def signature_lines(report: Report) -> tuple[str, ...]:
    """How metrics that come in many kinds were computed."""
    return tuple(
        f"{wording.metric_name(metric)}: {wording.printable(said)}."
        for metric, said in report.signatures.items()
    )


def error(found: NumberError) -> str:
    """An RMSE with its interval: ``1.92 [1.75, 2.1]``."""
    return f"{wording.number(found.rmse)} [{wording.number(found.low)}, {wording.number(found.high)}]"


def unread(found: NumberError) -> str:
    """How many answers were no number, or one beyond the range."""
    return f"{found.unread} of {found.n} no number, {found.outside} out of range"


def numbers_line(report: Report) -> str:
    """RMSE of every row; empty for a task whose answers are no numbers."""
    each = [
        f"{wording.printable(row.name)} {error(row.numbers)}"
        + (f" ({unread(row.numbers)})" if row.numbers.unread or row.numbers.outside else "")
        for row in report.rows
        if row.numbers is not None
    ]
    if not each:
        return ""
    return (
        f"RMSE (0 is best): {'; '.join(each)}. An answer that is no number counts with the largest error that the "
        "declared range allows."
    )


def parity(found: FairnessRecord) -> str:
    """The parity difference beside that of perfect answers: ``0.31 (perfect 0.52)``."""
    if found.parity is None or found.parity_perfect is None:
        return wording.NOTHING
    return f"{wording.score(found.parity)} (perfect {wording.score(found.parity_perfect)})"


def fairness_line(report: Report) -> str:
    """How the federated method serves single clients; the page has the other rows."""
    row = main_row(report)
    if row is None or row.fairness is None:
        return ""
    found = row.fairness
    text = (
        f"Fairness over {found.clients} clients, each with its own mix of classes "
        f"({wording.printable(row.name)}): {wording.metric_name(report.primary_metric)} worst "
        f"{wording.score(found.worst)}, lowest tenth {wording.score(found.bottom_decile)}, mean "
        f"{wording.score(found.mean)}, standard deviation {wording.score(found.std)}."
    )
    if found.parity is None:
        return text
    text += f" Demographic parity difference over {found.parity_over} {parity(found)}: the perfect value is"
    text += " that of answers that are all right." if found.parity_perfect else " 0 here."
    if found.odds is not None:
        text += f" Equalised odds difference {wording.score(found.odds)} (perfect 0)."
    return text


def estimate(found: Estimate | None) -> str:
    """A number with its interval."""
    if found is None:
        return wording.NOTHING
    # Rounded and then added to 0, so that no -0.000 is told.
    value, low, high = (round(each, 3) + 0.0 for each in (found.value, found.low, found.high))
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def membership_line(report: Report) -> str:
    """What a loss threshold tells about who was trained on, or why it is not known."""
    found = report.membership
    if found is None:
        return ""
    if not found.measured:
        return f"Membership: not measured, since {wording.printable(found.why)}."
    place = "a simulation's measurement" if report.privacy.simulation else "measured on private data"
    return (
        f"Membership of training examples by a loss threshold (Yeom; {place}, outside of any privacy statement): "
        f"advantage {estimate(found.advantage)}, where 0 is guessing and 1 is certainty; AUC {estimate(found.auc)}; "
        f"found at 1% false alarms {estimate(found.true_rate_at_1_percent)}. {found.members} members and "
        f"{found.others} others, threshold from {found.shadow} further ones."
    )


def per_round_line(report: Report) -> str:
    """Measured megabytes of a round, both ways."""
    found = report.per_round
    if found is None:
        return ""
    helpers = f", helpers {megabytes(found.helpers_mb)}" if found.helpers_mb else ""
    return (
        f"Per round (whole frames, 1 MB = 10^6 B, mean over {found.rounds}): a client sends {megabytes(found.up_mb)} "
        f"and receives {megabytes(found.down_mb)}; all clients {megabytes(found.all_up_mb)} and "
        f"{megabytes(found.all_down_mb)}{helpers}. What is agreed on before round 0 is not in it."
    )


def megabytes(value: float) -> str:
    """Megabytes with about three digits: ``0.000377 MB``."""
    return f"{value:.3g} MB"


def target_line(report: Report) -> str:
    """When the target was reached, or that it was not."""
    found = report.target
    if found is None:
        return ""
    metric = wording.metric_name(report.primary_metric)
    cost = f"{found.rounds} rounds, {megabytes(found.up_mb)} up and {megabytes(found.down_mb)} down"
    cost += "" if found.queries is None else f", {found.queries} queries"
    head = f"Target {metric} {wording.number(found.target)} (fixed before the run; median of three validation scores):"
    if found.reached:
        return f"{head} reached after {cost}."
    last = "" if found.last is None else f" The last of {found.scored} scores is {wording.score(found.last)}."
    return f"{head} NOT REACHED within {cost}; the figure is censored there.{last}"
