"""The words and number formats that the table and the page share.

The one invariant: a number or a caveat reads the same in the terminal and on the page, because both take it
from here. Texts here are ASCII, so that any terminal can show them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from string import ascii_lowercase
from typing import Any

from defenses.decimals import at_most
from ifedpriv.report.schema import CLASSIFICATION, Figure, Report, RoundSummary, Row, Traffic, VectorShare

NOTHING = "-"
COSTS_REMARK = (
    "Sent, received: bytes on the wire of one client in the whole run, mean over clients; 1 kB = 1000 B. "
    "Seconds: processor time that one client spends until the method can answer. "
    "Prompt tokens: what the model reads for one query, mean over queries."
)

_UNITS = ("kB", "MB", "GB", "TB", "PB", "EB")
_METRIC_NAMES = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "exact_match": "exact match",
    "rouge_l": "ROUGE-L",
    "bleu": "BLEU",
}
_METRIC_EXPLANATIONS = {
    "accuracy": "the share of test texts that are answered right",
    "macro_f1": (
        "the F1 score (harmonic mean of precision and recall) of each class, averaged over the classes, so that "
        "a rare class counts as much as a common one"
    ),
    "exact_match": "the share of test texts whose answer has the words of the expected one, in their order",
    "rouge_l": (
        "how many words answer and expected answer share in one order (F1 of the longest common subsequence): "
        "0 is none, 1 is all"
    ),
    "bleu": (
        "how many runs of one to four words the answers share with the expected ones, over all texts together; papers "
        "print a hundred times this number"
    ),
}

EXPLANATIONS = {
    "zero_shot": "the backbone answers without any example: what every method has to beat",
    "local_icl": (
        "in-context learning: each client puts its own solved examples into the prompt; nothing leaves the "
        "client, and every query pays for the longer prompt; the score is the mean over clients"
    ),
    "local_injection": (
        "each client turns its own examples into one context vector, adds it inside its own copy of the "
        "backbone with strengths that it learned alone, and asks with a short prompt; nothing leaves the "
        "client; the score is the mean over clients"
    ),
    "global_injection": (
        "the federated method: the server averages what all clients send, so that everybody injects one "
        "vector that knows of all their examples; the score is that of the last round, never of the best one"
    ),
    "local_lora": (
        "each client fine-tunes an adapter (LoRA) on its own examples; nothing leaves the client; the score is "
        "the mean over clients"
    ),
    "global_lora": (
        "the usual baseline: clients fine-tune one adapter (LoRA), and the server averages its weights after "
        "every round; the score is that of the last round, never of the best one"
    ),
    "local_prompt": (
        "each client tunes a soft prompt on its own examples, with as many steps as in the federation; nothing leaves "
        "the client; the score is the mean over clients"
    ),
    "meta_prompt": (
        "one soft prompt for everybody, which the server distils on public texts from the prompts of all clusters"
    ),
    "prototype_prompt": (
        "the federated method: clients that are alike share a soft prompt, the mean of theirs; each client answers "
        "with the one that fits its own examples best; the score is the mean over clients, after the last round"
    ),
    "instructed": "the backbone is told in words what is asked, and sees no example",
    "pooled_icl": (
        "examples of all clients in one prompt: no federation may do this, it shows what sharing everything "
        "would give"
    ),
    "zero_vector": "a control: no vector at all, the strengths learned as usual, to see what they do alone",
    "random_vector": (
        "a control: a random vector with the same norm in each layer and branch, the strengths learned as usual"
    ),
    "public_mean": (
        "a control: the mean of public texts in the task's own wording, with labels drawn at random: a vector that "
        "knows the template and the label words, and not which label belongs to which text"
    ),
    "other_task": "a control: the vector of another task, the strengths learned as usual on this one",
}

CONTROLS = {
    "zero_vector": "no vector",
    "random_vector": "random",
    "public_mean": "public mean",
    "other_task": "other task",
}
"""Controls in few words, for columns and lines that are said to be theirs."""


def metric_name(key: str) -> str:
    """A metric's name for readers."""
    return _METRIC_NAMES.get(key) or printable(key.replace("_", " "))


def metric_explanation(key: str) -> str:
    """What a metric measures."""
    return _METRIC_EXPLANATIONS.get(key, "a score that the run brought along, from 0 to 1")


def printable(text: str) -> str:
    """``text`` on one line, with control characters (a terminal would obey them) made visible as ``?``."""
    joined = " ".join(text.split())
    # Cc are controls; Cf are invisible marks, of which some turn the reading direction of a whole line.
    return "".join("?" if unicodedata.category(mark) in ("Cc", "Cf") else mark for mark in joined)


def sentence(text: str) -> str:
    """``text`` with a capital in front and a full stop at the end."""
    return capital(text) + ("" if text.endswith((".", "!", "?")) else ".")


def capital(text: str) -> str:
    """``text`` with a capital in front."""
    return text[:1].upper() + text[1:]


def labelled(text: str) -> tuple[str, ...]:
    """``text`` cut before each sentence that opens with a label, such as ``Assumed: ...``."""
    return tuple(part.strip() for part in re.split(r"(?<=\. )(?=[A-Z][A-Za-z ]{2,24}: )", text))


def footnotes(report: Report) -> dict[str, str]:
    """Each different note of a row, with its mark: a, b, ..., z, aa, ab, ..."""
    found: dict[str, str] = {}
    for row in report.rows:
        if row.notes:
            found.setdefault(printable(row.notes), _mark(len(found)))
    return found


def marked(row: Row, notes: Mapping[str, str]) -> str:
    """A row's name with the mark of its note."""
    mark = notes.get(printable(row.notes))
    return printable(row.name) + (f" ({mark})" if mark else "")


def _mark(index: int) -> str:
    mark = ""
    index += 1
    while index:
        index, letter = divmod(index - 1, len(ascii_lowercase))
        mark = ascii_lowercase[letter] + mark
    return mark


def score(value: float) -> str:
    """A score with three decimals."""
    return f"{value:.3f}"


def interval(figure: Figure) -> str:
    """The interval alone: ``[0.776, 0.844]``."""
    # A score cannot leave 0 to 1, so cutting an interval there loses no coverage.
    low, high = (min(max(end, 0.0), 1.0) for end in (figure.low, figure.high))
    return f"[{score(low)}, {score(high)}]"


def figure(found: Figure | None) -> str:
    """A score with its interval: ``0.812 [0.776, 0.844]``."""
    return NOTHING if found is None else f"{score(found.value)} {interval(found)}"


def byte_count(count: int) -> str:
    """Bytes for readers, with decimal units: 999 B, 1.0 kB, 12.3 MB."""
    if count < 1000:
        return f"{count} B"
    power, unit = 1, "kB"
    # 999,950 bytes would read 1000.0 kB.
    while round(count / 1000**power, 1) >= 1000 and power < len(_UNITS):
        power, unit = power + 1, _UNITS[power]
    return f"{count / 1000**power:.1f} {unit}"


def wire(traffic: Traffic | None) -> str:
    """The wire bytes for readers."""
    return NOTHING if traffic is None else byte_count(traffic.wire)


def payload(traffic: Traffic | None) -> str:
    """The payload bytes for readers."""
    return NOTHING if traffic is None else byte_count(traffic.payload)


def seconds(value: float | None) -> str:
    """Seconds with about three digits."""
    if value is None:
        return NOTHING
    if value >= 1e6:
        return f"{value:.0e}"
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def number(value: float | None) -> str:
    """A plain number, short."""
    return NOTHING if value is None else f"{value:.4g}"


def promised(bound: float) -> str:
    """A number that is promised not to be exceeded, short: never rounded down."""
    return at_most(bound, 4)


def percent(level: float) -> str:
    """A level of confidence: ``95%``."""
    return f"{100 * level:g}%"


def interval_header(report: Report, metric: str) -> str:
    """``[95% interval]``, or without the level where rows differ in it."""
    levels = {row.figures[metric].level for row in report.rows if metric in row.figures}
    return f"[{percent(levels.pop())} interval]" if len(levels) == 1 else "[interval]"


def headline(report: Report) -> str:
    """What ran, in one line."""
    task = report.task
    kind = f"{len(task.label_words)} classes" if task.kind == CLASSIFICATION else task.kind
    model = report.backbone
    return (
        f"{_many(report.totals.clients, 'client')}, {_many(report.totals.rounds, 'round')}, "
        f"task {printable(task.name)} ({kind}), "
        f"backbone {printable(model.name)} ({_many(model.layers, 'layer')}, width {model.width})"
    )


def started(report: Report) -> str:
    """When the run began, to the minute where it is told in UTC as we write it."""
    told = re.fullmatch(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d):[\d.]+(?:\+00:00|Z)", report.started)
    return f"{told[1]} {told[2]} UTC" if told else printable(report.started)


def intervals_line(report: Report) -> str:
    """How the intervals were made, from how many answers, and from which seeds."""
    made: list[str] = []
    sizes: set[int] = set()
    for metric in report.metrics():
        figures = [row.figures[metric] for row in report.rows if metric in row.figures]
        ways = dict.fromkeys(f"{percent(f.level)} {printable(f.method)}" for f in figures)
        made.append(f"{metric_name(metric)} {' or '.join(ways)}")
        sizes.update(f.n for f in figures)
    answers = " or ".join(str(size) for size in sorted(sizes))
    several = " (a mean over clients counts the answers of each)" if len(sizes) > 1 else ""
    shared = report.controls.share if report.controls else None
    if shared is not None and shared.value is not None:
        made.append(f"vector's share {percent(shared.level)} {printable(shared.method)}")
    seeds = ", ".join(f"{printable(name)} {seed}" for name, seed in report.seeds.items()) or "none"
    return f"Intervals: {'; '.join(made)}. n = {answers} answers{several}. Seeds: {seeds}."


def rounds_lines(report: Report) -> tuple[str, ...]:
    """Queries, where they were counted; last, mean of the last five, peak, and what the peak is not, where tested."""
    found: RoundSummary | None = report.round_summary
    if found is None:
        return _queries(report)
    metric = metric_name(report.primary_metric)
    return (
        *_queries(report),
        f"Test {metric} by round: last {score(found.last)}, "
        f"mean of the last five {score(found.last_five_mean)}, "
        f"peak {score(found.peak)} (round {found.peak_round}).",
        f"Note: {printable(found.remark)}.",
    )


def _queries(report: Report) -> tuple[str, ...]:
    counted = [record.queries for record in report.rounds if record.queries is not None]
    if not counted:
        return ()
    asked = [record.server_queries for record in report.rounds if record.server_queries is not None]
    server = f", {sum(asked):,} by the server" if asked else ""
    return (
        "Queries, each one text that went forward through the model, in all rounds: "
        f"{sum(counted):,} by all clients together{server}.",
    )


def guard_line(report: Report) -> str:
    """The guard's verdict; empty where there is none."""
    guard = report.guard
    if guard is None:
        return ""
    verdict = "accepted" if guard.accepted else "REFUSED"
    text = sentence(printable(guard.text)) if guard.text else ""
    told = score(guard.injection) in text and score(guard.zero_shot) in text
    numbers = (
        ""
        if told
        else (
            f" On {guard.n} held-out examples the injection scores {score(guard.injection)}, "
            f"zero-shot {score(guard.zero_shot)}."
        )
    )
    return f"Guard: {verdict}.{numbers} {text}".rstrip()


def share(found: VectorShare) -> str:
    """A vector's share with its interval: ``0.93 [0.86, 1.02]``; a dash where it is not defined."""
    if found.value is None:
        return NOTHING
    # Rounded and then added to 0, so that no -0.00 is told.
    value, low, high = (
        round(number, 2) + 0.0 for number in (found.value, found.low or 0.0, found.high or 0.0)
    )
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def controls_line(report: Report) -> str:
    """The vector's share, or why it is not known; empty for a method without a vector."""
    found = report.controls
    if found is None:
        return ""
    if not found.enabled:
        return "Controls: switched off, so nothing is known of what the vector adds."
    if found.share is None:
        return "The vector's share of the gain is not known, since there is no public mean to set beside it."
    if found.share.value is None:
        return f"The vector's share of the gain is not defined: {printable(found.share.why)}."
    return (
        f"The vector's share of the gain: {share(found.share)} ({percent(found.share.level)} interval). "
        "0: the public mean does as well; 1: without the private vector nothing is gained."
    )


def privacy_headline(report: Report) -> str:
    """The statement in a few words: no bound, or the bound, or a bound that protects nobody."""
    privacy = report.privacy
    if privacy.epsilon is None or privacy.delta is None:
        return "no privacy bound"
    bound = f"epsilon = {promised(privacy.epsilon)}, delta = {promised(privacy.delta)}"
    return f"{bound}, in simulation only: nobody is protected" if privacy.simulation else bound


def privacy_lines(report: Report) -> tuple[str, ...]:
    """The statement, headline first, one line for each of its parts."""
    text = printable(report.privacy.text)
    headline = privacy_headline(report)
    # A statement without a bound says so in these very words.
    told = headline in text.lower()
    return labelled(f"Privacy: {text}" if told else f"Privacy: {headline}. {text}")


def defense_in_words(defense: Mapping[str, Any]) -> str:
    """What protects uploads on their way, for a reader: ``no defense``, ``sums under masks, ...``.

    Args:
        defense: a run's or a recording's, as its specification is written down.
    """
    kind, privacy = defense["kind"], defense.get("privacy")
    if kind == "none" and privacy is None:
        return "no defense"
    said = {
        "none": "uploads as they are",
        "masked": "sums under masks",
        "ckks": "sums under homomorphic encryption (CKKS)",
        "bfv": "sums under homomorphic encryption (BFV)",
    }.get(kind, kind)
    if defense.get("ratchet"):
        said += " with a ratchet"
    if defense.get("groups", 1) > 1:
        said += f" in {defense['groups']} groups"
    return f"{said}, with differential privacy ({privacy['trust']} trust)" if privacy is not None else said


def _many(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
