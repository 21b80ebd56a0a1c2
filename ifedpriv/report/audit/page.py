"""An audit as one HTML page that needs nothing else: no network, no script, no other file.

The invariant: every text that does not come from this file goes through `markup`, and a content policy in the page
forbids scripts and loads on top of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ifedpriv.report import layers_plot, markup
from ifedpriv.report.audit import curves
from ifedpriv.report.audit.parts import Section, Table
from ifedpriv.report.audit.sections import headline, sections, verdict_lines


def render(document: Mapping[str, Any]) -> str:
    """The page, the same bytes for the same audit."""
    parts = sections(document)
    links = "\n".join(f'<a href="#{part.anchor}">{markup.text(part.title)}</a>' for part in parts)
    bodies = "\n".join(_section(part) for part in parts)
    first, *others = verdict_lines(document)
    items = "".join(f"<li>{markup.text(line)}</li>\n" for line in others)
    verdict = document["verdict"]
    alarm = verdict["attacks"] in ("works", "severe") or verdict["bound"] == "violation"
    name = markup.text(f"Audit of {document['run']}")
    body = f"""<header>
<h1>{name}</h1>
</header>
<main>
<section class="box{" alarm" if alarm else ""}" id="verdict">
<h2>Verdict: {markup.text(headline(document))}</h2>
{markup.paragraph(first)}<ul>
{items}</ul>
</section>
<nav aria-label="Sections">
{links}
</nav>
{bodies}
<section id="data">
<h2>The audit as data</h2>
{markup.details("audit_report.json", markup.preformatted(document))}</section>
</main>
"""
    return markup.page(name, body)


def _section(part: Section) -> str:
    body = "".join(markup.paragraph(line) for line in part.lines)
    body += "".join(_table(table) for table in part.tables)
    for scope in dict.fromkeys(curve["scope"] for curve in part.curves):
        drawn = [curve for curve in part.curves if curve["scope"] == scope]
        caption = f"ROC on {scope}, both axes logarithmic; dotted: a guess that knows nothing."
        if part.allowed is not None:
            caption += " Shaded edge: what the declared bound allows about one example."
        body += markup.figure(curves.draw(f"{part.anchor}-{drawn[0]['scope']}", drawn, part.allowed), caption)
    if part.layers is not None:
        caption = (
            "What is found in one layer by itself, both branches, with its interval. Flat lines: everything, each "
            "branch of all layers, and in grey the best control of everything. Small variations are good guesses."
        )
        body += markup.figure(layers_plot.in_page(part.layers), caption)
    for table in part.folded:
        body += markup.details(table.name, _table(table))
    if part.data is not None:
        body += markup.details("Configuration and defense", markup.preformatted(part.data))
    return f'<section id="{part.anchor}">\n<h2>{markup.text(part.title)}</h2>\n{body}</section>'


def _table(table: Table) -> str:
    return markup.table(table.name, table.heads, table.rows, table.caption, words_last=table.words_last)
