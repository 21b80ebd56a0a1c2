"""A report as one HTML page that needs nothing else: no network, no script, no other file.

The one invariant: every text that does not come from this file goes through `markup`, so no name, note or
configuration value can become markup; a content policy in the page forbids scripts and loads on top of that.
"""

from __future__ import annotations

from statistics import median

from ifedpriv.report import markup, measures_page, plots, wording
from ifedpriv.report.schema import (
    CLASSIFICATION,
    CONTROL_ROWS,
    MAIN_ROWS,
    ZERO_SHOT,
    Holdings,
    Report,
    RoundRecord,
    Row,
)

# A matrix with more cells than this is shown as a figure only.
_MAX_CELLS = 6000
# So many names say who dropped out; rounds.jsonl has them all.
_MAX_NAMES = 8


def render(report: Report) -> str:
    """The page.

    Args:
        report: what a run found.

    Returns:
        A whole HTML document, the same bytes for the same report.
    """
    sections = [
        ("what", "What was run", _what(report)),
        ("results", "Results", _results(report)),
        ("measures", "Clients, members, rounds", measures_page.section(report)),
        ("guard", "Guard", _guard(report)),
        ("rounds", "Round by round", _rounds(report)),
        ("traffic", "Traffic", _traffic(report)),
        ("holdings", "Who holds what", _holdings(report)),
        ("coefficients", "Coefficients", _coefficients(report)),
        ("repeat", "Repeat it", _repeat(report)),
    ]
    shown = [(anchor, title, body) for anchor, title, body in sections if body]
    ahead = [("warnings", "Warnings")] if report.warnings else []
    ahead.append(("privacy", "Privacy"))
    targets = [*ahead, *((anchor, title) for anchor, title, _ in shown)]
    links = "\n".join(f'<a href="#{anchor}">{title}</a>' for anchor, title in targets)
    bodies = "\n".join(
        f'<section id="{anchor}">\n<h2>{title}</h2>\n{body}</section>' for anchor, title, body in shown
    )
    name = markup.text(report.run)
    body = f"""<header>
<h1>{name}</h1>
<p class="soft">{markup.text(wording.headline(report))}.<br>Started {markup.text(wording.started(report))}.</p>
{_verdict(report)}</header>
<nav aria-label="Sections">
{links}
</nav>
<main>
{_warnings(report)}{_privacy(report)}{bodies}
</main>
"""
    return markup.page(name, body)


def _verdict(report: Report) -> str:
    metric = report.primary_metric
    floor = report.row(ZERO_SHOT)
    ours = next((row for row in map(report.row, MAIN_ROWS) if row is not None), None)
    if floor is None or ours is None:
        return ""
    found = ours.figures[metric]
    return (
        f"<p>{markup.text(wording.capital(ours.name))} reaches {markup.text(wording.metric_name(metric))} "
        f"<strong>{wording.figure(found)}</strong>; {markup.text(floor.name)}, which is the model left alone, stands "
        f"at {wording.figure(floor.figures[metric])}. 1 is best; in brackets the {wording.percent(found.level)} "
        "interval.</p>\n"
    )


def _warnings(report: Report) -> str:
    if not report.warnings:
        return ""
    items = "".join(f"<li>{markup.text(warning)}</li>\n" for warning in report.warnings)
    return f'<section class="box alarm" id="warnings">\n<h2>Warnings</h2>\n<ul>\n{items}</ul>\n</section>\n'


def _privacy(report: Report) -> str:
    privacy = report.privacy
    unprotected = privacy.epsilon is None or privacy.simulation
    headline = wording.privacy_headline(report)
    body = "".join(markup.paragraph(part) for part in wording.labelled(wording.printable(privacy.text)))
    if privacy.epsilon is None:
        body += markup.paragraph(
            "Without a defense whose noise is accounted for, nothing limits what the messages of this run "
            "tell about the private examples: whoever reads them may learn which words, which labels or "
            "whose texts stand behind them. Encryption and secure sums hide single messages; they do not "
            "limit what the result itself gives away."
        )
    else:
        body += markup.paragraph(
            "How to read the bound: whether what it protects was in the data or not changes the probability "
            "of whatever the run may release by a factor of at most e^epsilon, and delta on top. Smaller is "
            "stronger; at 0 nothing is told at all."
        )
    data = markup.preformatted(privacy.statement)
    return (
        f'<section class="box{" alarm" if unprotected else ""}" id="privacy">\n'
        f"<h2>Privacy: {markup.text(headline)}</h2>\n{body}"
        f"<details><summary>The statement as data</summary>\n{data}</details>\n</section>\n"
    )


def _what(report: Report) -> str:
    task, totals = report.task, report.totals
    if task.kind == CLASSIFICATION:
        words = len(task.label_words)
        asked = f"which of the {words} words {', '.join(task.label_words)} fits a text"
        chance = f" Guessing would be right once in {words}."
    else:
        asked, chance = "for an answer in free text", ""
    intro = (
        f"A language model that stays as it is (the backbone: {report.backbone.name}, {report.backbone.family} "
        f"family, {report.backbone.layers} layers of width {report.backbone.width}) is asked {asked}.{chance} "
        f"Solved examples are spread over {totals.clients} clients, who want to help each other without "
        f"handing them over. Every method below is scored on test texts of the task {task.name}, "
        f"{task.test_size} in all."
    )
    return markup.paragraph(intro) + markup.terms(
        (row.name, wording.sentence(_explained(row))) for row in report.rows if _explained(row)
    )


def _explained(row: Row) -> str:
    return wording.EXPLANATIONS.get(row.key, row.notes)


def _results(report: Report) -> str:
    metrics = report.metrics()
    notes = wording.footnotes(report)
    heads = ["Method"]
    heads += [
        f"{wording.metric_name(metric)}\n{wording.interval_header(report, metric)}" for metric in metrics
    ]
    heads += ["sent", "received", "client\nseconds", "prompt\ntokens"]
    body = [
        [
            wording.marked(row, notes),
            *(wording.figure(row.figures.get(metric)) for metric in metrics),
            wording.wire(row.up_bytes_per_client),
            wording.wire(row.down_bytes_per_client),
            wording.seconds(row.client_seconds),
            wording.number(row.inference_tokens_per_query),
        ]
        for row in report.rows
    ]
    main = [row.key in MAIN_ROWS for row in report.rows]
    metric = report.primary_metric
    caption = (
        "Scores on test texts, from 0 to 1, where 1 is best. The interval allows for the chance that lies in "
        "which test texts were asked and, for a mean over clients, in which clients took part."
    )
    shown = f"Each method's {wording.metric_name(metric)} on test texts (dot) with its interval (bar)."
    explained = (
        (wording.metric_name(metric), wording.sentence(wording.metric_explanation(metric)))
        for metric in metrics
    )
    return (
        markup.table("Results by method", heads, body, caption, main=main)
        + "".join(markup.paragraph(f"({mark}) {note}", "soft note") for note, mark in notes.items())
        + _controls(report)
        + markup.figure(plots.methods(report), shown)
        + markup.terms(explained)
        + markup.paragraph(wording.intervals_line(report), "soft")
        + markup.paragraph(wording.COSTS_REMARK, "soft")
    )


def _controls(report: Report) -> str:
    """What the vector adds, or that it is not known; nothing for a method without a vector."""
    line = wording.controls_line(report)
    if report.controls is None or report.controls.share is None:
        return markup.paragraph(line)
    return markup.paragraph(line) + markup.paragraph(
        "Controls are calibrated as the run was, with the same data, steps and noise; only the vector is another one. "
        "The vector's share is what is lost of the gain over zero-shot when the public mean takes the private vector's "
        "place. Where it is near 0, the strengths alone carry the task: noise on the vector then costs nothing, and "
        "the strengths are what has to be protected. Values below 0 and above 1 are possible.",
        "soft",
    )


def _guard(report: Report) -> str:
    verdict = wording.guard_line(report)
    if not verdict:
        return ""
    return markup.paragraph(verdict) + markup.paragraph(
        "The guard compares the injection with the backbone left alone, on examples that were kept out of "
        "training: the clients' own or, where coefficients are public and frozen, those of public tasks. It refuses "
        "an injection that is not better. Test texts play no part in it.",
        "soft",
    )


def _rounds(report: Report) -> str:
    if not report.rounds:
        return ""
    metric = wording.metric_name(report.primary_metric)
    records = report.rounds
    columns: list[tuple[str, bool, list[str]]] = [
        ("loss", any(r.loss is not None for r in records), [wording.number(r.loss) for r in records]),
        ("held out", any(r.validation for r in records), [wording.figure(r.validation) for r in records]),
        ("test", any(r.test for r in records), [wording.figure(r.test) for r in records]),
        ("sent", True, [wording.wire(r.up_bytes) for r in records]),
        ("received", True, [wording.wire(r.down_bytes) for r in records]),
        ("seconds", True, [wording.seconds(r.seconds) for r in records]),
        (
            "epsilon",
            True,
            ["no bound" if r.epsilon is None else wording.promised(r.epsilon) for r in records],
        ),
        ("clients", True, [str(len(r.took_part)) for r in records]),
        ("dropped out", any(r.dropped for r in records), [_dropped(r) for r in records]),
    ]
    shown = [(name, cells) for name, has, cells in columns if has]
    body = [
        [str(record.round), *(cells[index] for _, cells in shown)] for index, record in enumerate(records)
    ]
    caption = (
        f"Held out and test are {metric} with intervals; bytes are of all clients together, on the wire; seconds "
        "are on the clock; epsilon is what is spent up to and with the round; clients are those whose messages "
        "are in the aggregate."
    )
    measured = any(record.test or record.validation or record.loss is not None for record in records)
    drawn = (
        f"After each round: {metric}, and the mean training loss of the clients. Test scores are drawn for the "
        "eye; no round and no setting is chosen by them."
    )
    idle = report.coefficients is not None and any(record.loss is None for record in records)
    why = (
        "In a round without a loss nothing is trained: clients send their vectors, or the guard's scores."
        if idle
        else ""
    )
    return (
        (markup.figure(plots.rounds(report), drawn) if measured else "")
        + "".join(markup.paragraph(line) for line in wording.rounds_lines(report))
        + markup.paragraph(why, "soft")
        + markup.details(
            "All rounds as numbers",
            markup.table(
                "All rounds",
                ["Round", *(name for name, _ in shown)],
                body,
                caption,
                words_last=any(record.dropped for record in records),
            ),
        )
    )


def _dropped(record: RoundRecord) -> str:
    names = record.dropped
    if not names:
        return wording.NOTHING
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return f"{len(names)}: {', '.join(names[:_MAX_NAMES])}{more}"


def _holdings(report: Report) -> str:
    found = report.task.holdings
    if found is None:
        return ""
    body = [
        [name, group, *map(str, row), str(sum(row))]
        for name, group, row in zip(found.clients, found.groups, found.counts, strict=True)
    ]
    small = len(found.clients) * len(found.classes) <= _MAX_CELLS
    table = markup.table("Examples by client and class", ["Client", "group", *found.classes, "all"], body)
    numbers = markup.details("As numbers", table) if small else ""
    shown = "How many examples of each class each client holds."
    return (
        markup.paragraph(_spread(found))
        + markup.figure(plots.holdings(report), shown if len(found.classes) > 1 else "Examples by client.")
        + numbers
    )


def _spread(found: Holdings) -> str:
    """The figure in a sentence: how many examples, and how unequally."""
    sizes = [sum(row) for row in found.counts]
    least, most = min(sizes), max(sizes)
    each = f"{least} each" if least == most else f"{least} to {most} each (median {median(sizes):g})"
    text = f"The clients hold {sum(sizes)} examples, {each}."
    classes = len(found.classes)
    if classes > 1:
        held = median(sum(count > 0 for count in row) for row in found.counts)
        text += f" At the median, a client has examples of {held:g} of the {classes} classes."
    return text


def _coefficients(report: Report) -> str:
    found = report.coefficients
    if found is None:
        return ""
    heads = ["Layer", "attention λ", "attention β", "MLP λ", "MLP β"]
    body = [
        [
            str(layer),
            *(
                f"{wording.number(was)} → {wording.number(now)}"
                for site in (0, 1)
                for was, now in zip(before[site], after[site], strict=True)
            ),
        ]
        for layer, (before, after) in enumerate(zip(found.initial, found.final, strict=True))
    ]
    intro = (
        "Each layer of the backbone has two parts, attention and MLP (a feed-forward network), and each adds "
        "something to what passes through. What a part would add is scaled by β, and the context vector, scaled "
        "by λ, is added to it. With λ = 0 and β = 1 the backbone is untouched."
    )
    drawn = "λ and β of each layer after the last round; dotted: where they started."
    return (
        markup.paragraph(intro)
        + markup.figure(plots.coefficients(report), drawn)
        + markup.details("As numbers, start → end", markup.table("Coefficients by layer", heads, body))
    )


def _traffic(report: Report) -> str:
    heads = ["Method", "sent,\npayload", "sent,\nwire", "received,\npayload", "received,\nwire"]
    body = [
        [
            row.name,
            wording.payload(row.up_bytes_per_client),
            wording.wire(row.up_bytes_per_client),
            wording.payload(row.down_bytes_per_client),
            wording.wire(row.down_bytes_per_client),
        ]
        for row in report.rows
        if row.up_bytes_per_client or row.key not in CONTROL_ROWS
    ]
    totals = report.totals
    body_total = (
        f"All clients together sent {wording.wire(totals.up_bytes)} and received "
        f"{wording.wire(totals.down_bytes)} on the wire (payload {wording.payload(totals.up_bytes)} and "
        f"{wording.payload(totals.down_bytes)}) in {totals.rounds} rounds, and computed for "
        f"{wording.seconds(totals.client_seconds)} s of processor time; the whole run took "
        f"{wording.seconds(totals.seconds)} s on the clock."
    )
    known = any(row.up_bytes_per_client and row.down_bytes_per_client for row in report.rows)
    shown = "Bytes that one client sends and receives in the whole run, mean over clients, on the wire."
    drawn = markup.figure(plots.traffic(report), shown) if known else ""
    caption = (
        "Per client in the whole run. Payload: the numbers alone. Wire: everything that crosses the network. "
        "1 kB = 1000 B."
    )
    return markup.paragraph(body_total) + drawn + markup.table("Traffic by method", heads, body, caption)


def _repeat(report: Report) -> str:
    facts = {
        "backbone": report.backbone.name,
        "its fingerprint": report.backbone.fingerprint,
        **{f"seed: {name}": str(seed) for name, seed in report.seeds.items()},
        **report.versions,
        **{f"platform: {name}": value for name, value in report.platform.items()},
    }
    rows = [[name, value] for name, value in facts.items()]
    return (
        markup.paragraph(
            "The same configuration, seeds and versions give the same numbers to the digit on the same "
            "machine: run again with the config.yaml that lies beside this page. Times differ between runs."
        )
        + markup.table("Model, seeds, versions and platform", ["What", "Value"], rows, words_last=True)
        + markup.details("The configuration as resolved", markup.preformatted(report.config))
    )
