"""A report as one HTML page that needs nothing else: no network, no script, no other file.

The one invariant: every text that does not come from this file goes through `_text`, so no name, note or
configuration value can become markup; a content policy in the page forbids scripts and loads on top of that.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape

from ifedpriv.report import plots, wording
from ifedpriv.report.page_style import STYLE
from ifedpriv.report.schema import CLASSIFICATION, GLOBAL_INJECTION, GLOBAL_LORA, ZERO_SHOT, Report, Row

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
# A matrix with more cells than this is shown as a figure only.
_MAX_CELLS = 2000


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
        ("rounds", "Round by round", _rounds(report)),
        ("holdings", "Who holds what", _holdings(report)),
        ("coefficients", "Coefficients", _coefficients(report)),
        ("traffic", "Traffic", _traffic(report)),
        ("guard", "Guard", _paragraph(wording.guard_line(report))),
        ("repeat", "Repeat it", _repeat(report)),
    ]
    shown = [(anchor, title, body) for anchor, title, body in sections if body]
    links = "\n".join(f'<a href="#{anchor}">{title}</a>' for anchor, title, _ in shown)
    bodies = "\n".join(
        f'<section id="{anchor}">\n<h2>{title}</h2>\n{body}</section>' for anchor, title, body in shown
    )
    name = _text(report.run)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{name} - ifedpriv</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{name}</h1>
<p class="soft">{_text(wording.headline(report))}. Started {_text(report.started)}.</p>
{_verdict(report)}</header>
{_warnings(report)}{_privacy(report)}<nav aria-label="Sections">
{links}
</nav>
<main>
{bodies}
</main>
</body>
</html>
"""


def _verdict(report: Report) -> str:
    metric = report.primary_metric
    floor, ours = report.row(ZERO_SHOT), report.row(GLOBAL_INJECTION) or report.row(GLOBAL_LORA)
    if floor is None or ours is None:
        return ""
    return (
        f"<p>{_text(ours.name[:1].upper() + ours.name[1:])} reaches {_text(wording.metric_name(metric))} "
        f"<strong>{wording.figure(ours.figures[metric])}</strong>; "
        f"{_text(floor.name)} stands at {wording.figure(floor.figures[metric])}.</p>\n"
    )


def _warnings(report: Report) -> str:
    if not report.warnings:
        return ""
    items = "".join(f"<li>{_text(warning)}</li>\n" for warning in report.warnings)
    return f'<section class="box alarm" id="warnings">\n<h2>Warnings</h2>\n<ul>\n{items}</ul>\n</section>\n'


def _privacy(report: Report) -> str:
    privacy = report.privacy
    unprotected = privacy.epsilon is None or privacy.simulation
    headline = wording.privacy_headline(report)
    body = _paragraph(privacy.text)
    if privacy.epsilon is None:
        body += _paragraph(
            "Without a defense whose noise is accounted for, nothing limits what the messages of this run "
            "tell about the private examples: whoever reads them may learn which words, which labels or "
            "whose texts stand behind them. Encryption and secure sums hide single messages; they do not "
            "limit what the result itself gives away."
        )
    data = _preformatted(privacy.statement)
    return (
        f'<section class="box{" alarm" if unprotected else ""}" id="privacy">\n'
        f"<h2>Privacy: {_text(headline)}</h2>\n{body}"
        f"<details><summary>The statement as data</summary>\n{data}</details>\n</section>\n"
    )


def _what(report: Report) -> str:
    task, totals = report.task, report.totals
    asked = (
        f"which of the {len(task.label_words)} words {', '.join(task.label_words)} fits a text"
        if task.kind == CLASSIFICATION
        else "for an answer in free text"
    )
    intro = (
        f"A language model that stays as it is ({report.backbone.name}, {report.backbone.family} family, "
        f"{report.backbone.layers} layers of width {report.backbone.width}) is asked {asked}. "
        f"Solved examples are spread over {totals.clients} clients, who want to help each other without "
        f"handing them over. Every method below is scored on test texts of the task {task.name}, "
        f"{task.test_size} in all."
    )
    terms = "".join(
        f"<dt>{_text(row.name)}</dt>\n<dd>{_text(wording.sentence(_explained(row)))}</dd>\n"
        for row in report.rows
        if _explained(row)
    )
    return _paragraph(intro) + (f"<dl>\n{terms}</dl>\n" if terms else "")


def _explained(row: Row) -> str:
    return wording.EXPLANATIONS.get(row.key, row.notes)


def _results(report: Report) -> str:
    metrics = report.metrics()
    heads = ["Method"]
    heads += [
        f"{wording.metric_name(metric)}\n{wording.interval_header(report, metric)}" for metric in metrics
    ]
    heads += ["up\n/client", "down\n/client", "client\nseconds", "prompt\ntokens/query"]
    noted = any(row.notes for row in report.rows)
    body = [
        [
            row.name,
            *(wording.figure(row.figures.get(metric)) for metric in metrics),
            wording.wire(row.up_bytes_per_client),
            wording.wire(row.down_bytes_per_client),
            wording.seconds(row.client_seconds),
            wording.number(row.inference_tokens_per_query),
            *([row.notes] if noted else []),
        ]
        for row in report.rows
    ]
    main = [row.key in (GLOBAL_INJECTION, GLOBAL_LORA) for row in report.rows]
    remarks = [wording.intervals_line(report), wording.COSTS_REMARK, *wording.rounds_lines(report)]
    return (
        _table([*heads, "Notes"] if noted else heads, body, main=main, words_last=noted)
        + "".join(_paragraph(remark, "soft") for remark in remarks)
        + _figure(plots.methods(report), "Each method's score with its interval.")
    )


def _rounds(report: Report) -> str:
    if not report.rounds:
        return ""
    heads = ["Round", "loss", "held out", "test", "up", "down", "seconds", "clients", "dropped", "epsilon"]
    body = [
        [
            str(record.round),
            wording.number(record.loss),
            wording.figure(record.validation),
            wording.figure(record.test),
            wording.wire(record.up_bytes),
            wording.wire(record.down_bytes),
            wording.seconds(record.seconds),
            str(len(record.took_part)),
            ", ".join(record.dropped) or wording.NOTHING,
            "no bound" if record.epsilon is None else wording.number(record.epsilon),
        ]
        for record in report.rounds
    ]
    metric = wording.metric_name(report.primary_metric)
    caption = (
        f"Held out and test are {metric} with intervals; bytes are of all clients together, on the wire; "
        "epsilon is what is spent up to and with the round."
    )
    measured = any(record.test or record.validation or record.loss is not None for record in report.rounds)
    remark = "Test scores are drawn for the eye; no round and no setting is chosen by them."
    return (
        (_figure(plots.rounds(report), remark) if measured else "")
        + "".join(_paragraph(line) for line in wording.rounds_lines(report))
        + _details("All rounds as numbers", _table(heads, body, caption))
    )


def _holdings(report: Report) -> str:
    found = report.task.holdings
    if found is None:
        return ""
    body = [
        [name, group, *map(str, row), str(sum(row))]
        for name, group, row in zip(found.clients, found.groups, found.counts, strict=True)
    ]
    small = len(found.clients) * len(found.classes) <= _MAX_CELLS
    numbers = (
        _details("As numbers", _table(["Client", "group", *found.classes, "all"], body)) if small else ""
    )
    return _figure(plots.holdings(report), "Examples by client and class; areas are to scale.") + numbers


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
        "At every layer, what attention and what the MLP would add is scaled by β, and the context vector, "
        "scaled by λ, is added to it. With λ = 0 and β = 1 the backbone is untouched."
    )
    return (
        _paragraph(intro)
        + _figure(plots.coefficients(report), "Coefficients by layer at the end; dotted: at the start.")
        + _details("As numbers, start → end", _table(heads, body))
    )


def _traffic(report: Report) -> str:
    heads = ["Method", "up payload", "up wire", "down payload", "down wire"]
    body = [
        [
            row.name,
            wording.payload(row.up_bytes_per_client),
            wording.wire(row.up_bytes_per_client),
            wording.payload(row.down_bytes_per_client),
            wording.wire(row.down_bytes_per_client),
        ]
        for row in report.rows
    ]
    totals = report.totals
    body_total = (
        f"All clients together sent {wording.wire(totals.up_bytes)} and received "
        f"{wording.wire(totals.down_bytes)} on the wire (payload {wording.payload(totals.up_bytes)} and "
        f"{wording.payload(totals.down_bytes)}) in {totals.rounds} rounds, and computed for "
        f"{wording.seconds(totals.client_seconds)} s; the whole run took {wording.seconds(totals.seconds)} s."
    )
    known = any(row.up_bytes_per_client and row.down_bytes_per_client for row in report.rows)
    drawn = _figure(plots.traffic(report), "Wire bytes of one client in the whole run.") if known else ""
    caption = "Per client in the whole run. Payload: the numbers alone. Wire: everything sent."
    return _paragraph(body_total) + drawn + _table(heads, body, caption)


def _repeat(report: Report) -> str:
    facts = {
        "backbone": f"{report.backbone.name}, fingerprint {report.backbone.fingerprint}",
        **{f"seed: {name}": str(seed) for name, seed in report.seeds.items()},
        **report.versions,
        **{f"platform: {name}": value for name, value in report.platform.items()},
    }
    rows = [[name, value] for name, value in facts.items()]
    return (
        _paragraph(
            "The same configuration, seeds and versions give the same numbers to the digit on the same "
            "machine: run again with the config.yaml that lies beside this page. Times differ between runs."
        )
        + _table(["What", "Value"], rows, words_last=True)
        + _details("The configuration as resolved", _preformatted(report.config))
    )


# ---- building blocks: everything that takes foreign text escapes it


def _text(value: str) -> str:
    return escape(wording.printable(value))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _paragraph(text: str, style: str = "") -> str:
    if not text:
        return ""
    return f'<p class="{style}">{_text(text)}</p>\n' if style else f"<p>{_text(text)}</p>\n"


def _details(summary: str, body: str) -> str:
    return f"<details><summary>{_text(summary)}</summary>\n{body}</details>\n"


def _figure(svg: str, caption: str) -> str:
    return f"<figure>\n{svg}<figcaption>{_text(caption)}</figcaption>\n</figure>\n"


def _preformatted(data: Mapping[str, object]) -> str:
    return f"<pre>{escape(json.dumps(_unfrozen(data), indent=2))}</pre>\n"


def _unfrozen(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _unfrozen(item) for key, item in value.items()}
    return [_unfrozen(item) for item in value] if isinstance(value, tuple) else value


def _table(
    heads: Sequence[str],
    body: Sequence[Sequence[str]],
    caption: str = "",
    *,
    main: Sequence[bool] = (),
    words_last: bool = False,
) -> str:
    def cells(row: Iterable[str], tag: Callable[[int], str]) -> str:
        last = len(heads) - 1
        style = ' class="words"'
        return "".join(
            f"<{tag(i)}{style if words_last and i == last else ''}>{_lines(cell)}</{tag(i)[:2]}>"
            for i, cell in enumerate(row)
        )

    head = cells(heads, lambda _: 'th scope="col"')
    rows = "".join(
        f"<tr{' class=main' if index < len(main) and main[index] else ''}>"
        f"{cells(row, lambda i: 'td' if i else 'th scope=row')}</tr>\n"
        for index, row in enumerate(body)
    )
    title = f"<caption>{_text(caption)}</caption>\n" if caption else ""
    return (
        f'<div class="wide"><table>\n{title}<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}</tbody></table></div>\n"
    )


def _lines(cell: str) -> str:
    return "<br>".join(_text(line) for line in cell.split("\n"))
