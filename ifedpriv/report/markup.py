"""The building blocks of the page: paragraphs, tables, figures, and what can be unfolded.

The one invariant: everything that takes foreign text escapes it, so no name, note or configuration value can
become markup.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape

from ifedpriv.report import wording
from ifedpriv.report.page_style import STYLE

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def page(title: str, body: str) -> str:
    """A whole page that loads nothing and runs no script; ``title`` and ``body`` are markup."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{title} - ifedpriv</title>
<style>{STYLE}</style>
</head>
<body>
{body}</body>
</html>
"""


def text(value: str) -> str:
    """``value`` as text that a browser shows as it is."""
    return escape(wording.printable(value))


def paragraph(value: str, style: str = "") -> str:
    """A paragraph, or nothing for no text."""
    if not value:
        return ""
    return f'<p class="{style}">{text(value)}</p>\n' if style else f"<p>{text(value)}</p>\n"


def details(summary: str, body: str) -> str:
    """What is unfolded on demand; print shows it unfolded where the browser can."""
    return f"<details><summary>{text(summary)}</summary>\n{body}</details>\n"


def figure(svg: str, caption: str) -> str:
    """A figure with the sentence that says what it shows."""
    # What may have to be scrolled takes the keyboard.
    opening = svg.partition(">")[0]
    focus = ' tabindex="0"' if 'class="broad"' in opening else ""
    return f'<figure>\n<div class="wide"{focus}>{svg}</div>\n<figcaption>{text(caption)}</figcaption>\n</figure>\n'


def preformatted(data: Mapping[str, object]) -> str:
    """JSON as it is."""
    return f'<pre tabindex="0">{escape(json.dumps(_unfrozen(data), indent=2))}</pre>\n'


def terms(pairs: Iterable[tuple[str, str]]) -> str:
    """Names with their explanations, or nothing for none."""
    body = "".join(f"<dt>{text(name)}</dt>\n<dd>{text(said)}</dd>\n" for name, said in pairs)
    return f"<dl>\n{body}</dl>\n" if body else ""


def table(
    name: str,
    heads: Sequence[str],
    body: Sequence[Sequence[str]],
    caption: str = "",
    *,
    main: Sequence[bool] = (),
    words_last: bool = False,
) -> str:
    """A table that scrolls by itself where it is wider than the page.

    Args:
        name: what it is called where it cannot be seen; it takes the keyboard, so that it can be scrolled.
        heads: of the columns; a line break breaks the line.
        body: rows; the first cell is the row's head.
        caption: what the numbers mean, shown above, outside what scrolls.
        main: which rows stand out.
        words_last: the last column holds text, which may wrap.
    """

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
    return (
        f"{paragraph(caption, 'caption')}"
        f'<div class="wide" role="region" tabindex="0" aria-label="{text(name)}"><table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n"
    )


def _lines(cell: str) -> str:
    return "<br>".join(text(line) for line in cell.split("\n"))


def _unfrozen(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _unfrozen(item) for key, item in value.items()}
    return [_unfrozen(item) for item in value] if isinstance(value, tuple) else value
