"""Tables of which attack noise ends at which epsilon, and of what parts of vectors tell, for `findings.py`.

A table without results says how to get them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from _attack_tables import strength
from _cells import by_cell
from _sweep import RESULTS, mean_text
from _tables import load, markdown, values

from attacks._program.layers_launch import METHODS as MEASURES
from attacks._program.layers_launch import named

DOCS = Path(__file__).parent.parent / "docs" / "figures"
REAL, SET = "stories260k", "sst2"
ATTACKS: Mapping[str, tuple[str, str]] = {
    "unmix": ("words, unmix", "average precision"),
    "probe": ("words, probe", "average precision"),
    "class means": ("label mix", "total variation"),
    "likelihood ratio": ("members, likelihood ratio", "AUC"),
    "all others known": ("members, all others known", "AUC"),
    "corpus": ("texts of a pool, corpus", "corpus recall"),
}
"""By method: what an attack is called, and the metric that it is judged by; in the order in which noise was expected to
end them."""
_LEAKS = ("works", "severe")
Row = Mapping[str, Any]


def found_of(name: str, real: bool) -> Row:
    """A result of `_attacked.keep`, of the shipped model or of the real one; nothing where none was kept."""
    path = RESULTS / f"{name}{f'_{REAL}' if real else ''}.json"
    if not path.exists():
        return {}
    whole = load(path.stem)
    found: Row = whole.get(SET, {}) if real else whole
    return found


def missing(name: str, real: bool) -> str:
    """What stands in place of a table that nothing was measured for."""
    where = f" --model DIR --data FOLDER/{SET}" if real else ""
    return f"Not measured yet: `python benchmarks/{name}.py{where}`.\n"


def picture(name: str, what: str) -> str:
    """The figure below a table, where it was drawn."""
    return f"\n![{what}](figures/{name}.svg)\n" if (DOCS / f"{name}.svg").exists() else ""


def orders() -> dict[str, Row]:
    """What was measured of each model, by its name."""
    found = {"shipped": found_of("epsilon_order", False), REAL: found_of("epsilon_order", True)}
    return {name: each for name, each in found.items() if each}


def headlines(found: Row, examples: int) -> dict[float, dict[str, Row]]:
    """By epsilon, the largest first, each method's finding on the metric that it is judged by."""
    return {
        math.inf if cell["epsilon"] is None else cell["epsilon"]: {
            row["method"]: row for row in cell["findings"] if headline(row)
        }
        for cell in found["cells"]
        if cell["examples"] == examples
    }


def headline(row: Row) -> bool:
    """Whether a finding is the one that its method is judged by."""
    return row["method"] in ATTACKS and ATTACKS[row["method"]][1] == row["metric"]


def works(row: Row) -> bool:
    """Whether the judge says that the attack works."""
    return row["verdict"] in _LEAKS


def tells(row: Row) -> bool:
    """Whether the attack is better than its best control by more than chance, however little that is."""
    return bool(row["gain"]["interval"][0] > 0)


def ended(judged: Mapping[float, bool]) -> str:
    """The largest epsilon from which on, downwards, an attack does not do a thing any more.

    Args:
        judged: whether it does, by epsilon.
    """
    falling = sorted(judged, reverse=True)
    last = max((i for i, epsilon in enumerate(falling) if judged[epsilon]), default=-1)
    if last < 0:
        return "needs none"
    return f"{falling[last + 1]:g}" if last + 1 < len(falling) else f"below {falling[-1]:g}"


def epsilon_needed(question: Callable[[Row], bool]) -> str:
    """One row an attack, one column a model and number of examples."""
    found = {
        f"{name}, {plural(examples)}": headlines(each, examples)
        for name, each in orders().items()
        for examples in sorted({cell["examples"] for cell in each["cells"]})
    }
    if not found:
        return missing("epsilon_order", False)
    rows = [
        [
            name,
            *(
                ended({epsilon: question(row[method]) for epsilon, row in by_epsilon.items()})
                for by_epsilon in found.values()
            ),
        ]
        for method, (name, _) in ATTACKS.items()
    ]
    drawn = picture("epsilon_order", "gain of each attack against epsilon") if question is works else ""
    return markdown(["attack", *found], rows) + drawn


def plural(examples: int) -> str:
    """So many examples, in words."""
    return "1 example" if examples == 1 else f"{examples} examples"


def epsilon_order(real: bool) -> str:
    """One row a number of examples and epsilon: each attack's value, bold where it works, with its best control."""
    found = found_of("epsilon_order", real)
    if not found:
        return missing("epsilon_order", real)
    rows = []
    for examples in sorted({cell["examples"] for cell in found["cells"]}):
        for epsilon, by_method in headlines(found, examples).items():
            shown = "none" if math.isinf(epsilon) else f"{epsilon:g}"
            rows.append([str(examples), shown, *(_value(by_method[method]) for method in ATTACKS)])
    head = [f"{name}: {metric}" for name, metric in ATTACKS.values()]
    return markdown(["examples", "epsilon", *head], rows)


def _value(row: Row) -> str:
    told = f"{row['value']:.2f}"
    return f"{f'**{told}**' if works(row) else told} ({row['controls'][row['gain']['control']]:.2f})"


def layers(real: bool) -> str:
    """One row a part of the vector, one column a measure, with its best control."""
    document = found_of("parts", real).get("layers")
    if document is None:
        return missing("parts", real)
    rows = []
    # Texts without attributes have no mix of them.
    names = [
        name
        for name in MEASURES
        if any(part["measured"][name]["value"] is not None for part in document["parts"])
    ]
    for part in document["parts"]:
        cells = [part["measured"][name] for name in names]
        rows.append([named(part), *(f"{one['value']:.2f} ({one['control']:.2f})" for one in cells)])
    head = ["what is read", *(f"{name}: {document['metrics'][name]}" for name in names)]
    return markdown(head, rows) + picture(f"layers{'_real' if real else ''}", "what each layer tells")


def attributes() -> str:
    """One row a number of examples and metric, on the shipped task."""
    cells = found_of("parts", False).get("attributes")
    if cells is None:
        return missing("parts", False)
    rows = []
    for cell in cells:
        for row in cell["findings"]:
            control = ""
            if row["gain"]:
                control = f"{row['controls'][row['gain']['control']]:.2f}, {row['gain']['control']}"
            elif row["controls"]:
                name = max(row["controls"], key=lambda which: float(row["controls"][which]))
                control = f"{row['controls'][name]:.2f}, {name}"
            low, high = row["interval"]
            rows.append(
                [
                    str(cell["examples"]),
                    row["metric"],
                    f"{row['value']:.2f} [{low:.2f}, {high:.2f}]",
                    control,
                    row["verdict"] or "",
                ]
            )
    return markdown(["examples", "metric", "value [95%]", "best control", "verdict"], rows)


def whole_texts() -> str:
    """One row for all vectors of a cell of `text_attacks`, on the real model."""
    found = by_cell(f"text_attacks_{REAL}")
    if not found:
        return missing("text_attacks", True)
    keys = ("exact match", "token F1", "ROUGE-L", "certain", "seconds")
    rows = []
    for name, by_seed in found.items():
        row = [name, str(len(by_seed))]
        for key in keys:
            told = mean_text(values(by_seed, key))
            prior = f"{key}, prior"
            beside = prior in next(iter(by_seed.values()))
            row.append(f"{told} ({mean_text(values(by_seed, prior))})" if beside else told)
        rows.append(row)
    return markdown(["", "vectors", *(f"{key} (prior)" if key in keys[:3] else key for key in keys)], rows)


def real_strength() -> str:
    """The table of undefended uploads, of the real model and texts."""
    cells = found_of("attacks", True).get("cells")
    return strength(cells) if cells else missing("attack_strength", True)


TABLES: dict[str, Callable[[], str]] = {
    "attack_strength_real": real_strength,
    "epsilon_works": partial(epsilon_needed, works),
    "epsilon_tells": partial(epsilon_needed, tells),
    "epsilon_order": partial(epsilon_order, False),
    "epsilon_order_real": partial(epsilon_order, True),
    "layers": partial(layers, False),
    "layers_real": partial(layers, True),
    "attributes": attributes,
    "whole_texts_real": whole_texts,
}
