"""Tables of what attacks get, undefended and under differential privacy, for `findings.py`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from _tables import load, markdown

_SINGLE, _SUM, _RATIO = "single uploads", "the aggregate", "likelihood ratio"
_READS = {
    "uploads": "a client's upload",
    "aggregates": "a released mean",
    "unshrunk": "a released mean, not shrunk",
    "texts": "a client's upload",
}


def attack_strength() -> str:
    """What undefended uploads of the shipped model give away."""
    return strength(load("attacks")["cells"])


def strength(cells: Sequence[Mapping[str, Any]]) -> str:
    """One row for a number of examples behind an undefended vector.

    Args:
        cells: as `attack_strength.py` keeps them; members are told where all cells have them.
    """
    scored = all("membership" in cell for cell in cells)
    rows = []
    for cell in cells:
        found = {
            (each["method"], each["scope"], each["metric"]): each
            for name in ("labels", "invert", "membership")
            for each in cell.get(name, ())
        }

        def value(method: str, metric: str, scope: str = _SINGLE, of: Mapping[Any, Any] = found) -> str:
            # Where some vector's texts name nobody, names are not measured.
            key = (method, scope, metric)
            return f"{of[key]['value']:.2f}" if key in of else "none"

        def beside(method: str, metric: str, control: str, of: Mapping[Any, Any] = found) -> str:
            one = of[method, _SINGLE, metric]
            return f"{one['value']:.2f} ({one['controls'][control]:.2f})"

        row = [
            str(cell["examples"]),
            f"{cell['pool']:,}",
            f"{value('corpus', 'corpus recall')}, {value('corpus', 'corpus precision')}",
            f"{value('corpus', 'corpus recall', _SUM)}, {value('corpus', 'corpus precision', _SUM)}",
            beside("probe", "average precision", "prior only"),
            beside("unmix", "average precision", "prior only"),
            f"{value('corpus', 'private strings')}, {value('probe', 'private strings')}",
            beside("class means", "total variation", "uniform"),
            f"{found['class means', _SINGLE, 'exact counts']['value']:.0%}",
        ]
        if scored:
            row.append(f"{value(_RATIO, 'AUC')}, {value(_RATIO, 'AUC', _SUM)}")
        rows.append(row)
    head = [
        "examples",
        "pool",
        "corpus recall, precision",
        "the same, aggregate",
        "AP, probe (prior)",
        "AP, unmix (prior)",
        "private strings by corpus, by probe",
        "label variation (uniform)",
        "counts exact",
    ]
    return markdown([*head, *(["AUC of members: uploads, aggregate"] if scored else [])], rows)


def slots_strength() -> str:
    """One row for a number of examples: names and numbers that linear probes tell, slot by slot."""
    rows = []
    for cell in load("attacks")["cells"]:
        found = {
            (each["scope"], each["metric"]): each for each in cell["invert"] if each["method"] == "slots"
        }
        if not found:
            continue
        row = [str(cell["examples"])]
        for metric in ("private strings", "string precision", "slot accuracy"):
            one = found[_SINGLE, metric]
            low, high = one["interval"]
            row.append(f"{one['value']:.3f} [{low:.3f}, {high:.3f}] ({one['controls']['prior only']:.3f})")
        one = found[_SINGLE, "private strings"]
        blind = {name: value for name, value in one["controls"].items() if name != "nearest public texts"}
        best = max(blind, key=lambda name: blind[name])
        rows.append([*row, f"{blind[best]:.3f}, {best}", one["verdict"]])
    head = ["examples", "private strings [95%] (prior)", "precision (prior)", "slot accuracy (prior)"]
    return markdown([*head, "best control, strings", "verdict, strings"], rows)


_UNLISTED = ("TPR at 0.1% FPR",)
"""Metrics whose rows would fill a page and say little; the results have them."""
_OF_LAYERS = ("AUC", "average precision", "total variation")


def attacks_resisted(
    *wanted: str, attacks: Collection[str] = (), metrics: Collection[str] = (), layers: bool = False
) -> str:
    """One row a metric of each attack: value, gain over the best control, and verdict, for each kind of vector.

    Args:
        wanted: kinds of vectors.
        attacks: those listed; empty for all.
        metrics: those listed; empty for all but `_UNLISTED`.
        layers: list attacks on parts of vectors, and not those on whole ones.
    """
    kept = load("attacks_resisted")
    kinds = [what for what in wanted if what in kept]
    found = {
        what: {(each["attack"], each["method"], each["metric"]): each for each in kept[what]}
        for what in kinds
    }
    rows = []
    keys = list(dict.fromkeys(key for what in kinds for key in found[what]))
    # What was measured later stands with the rest of its attack.
    names = list(dict.fromkeys(attack for attack, _, _ in keys))
    for key in sorted(keys, key=lambda key: names.index(key[0])):
        attack, method, metric = key
        if (attack == "layers") != layers or (attacks and attack not in attacks):
            continue
        if metric in _UNLISTED or (metrics and metric not in metrics):
            continue
        row = [f"{attack}, {method}" if attack != "membership" else f"members, {method}", metric]
        for what in kinds:
            row += _judged(found[what][key]) if key in found[what] else ["", "", ""]
        rows.append(row)
    head = ["attack", "metric"]
    for what in kinds:
        head += [_READS[what], "gain over the best control [95%]", "verdict"]
    return markdown(head, rows)


def _judged(row: Mapping[str, Any]) -> list[str]:
    if row["value"] is None:
        return ["", row["why"], row["verdict"]]
    gain = row["gain"]
    told = ""
    if gain and gain["interval"]:
        low, high = gain["interval"]
        told = f"{gain['value']:+.3f} [{low:+.3f}, {high:+.3f}]"
    return [f"{row['value']:.3f}", told, row["verdict"]]


def attack_speed() -> str:
    """One row for an attack and a number of examples."""
    rows = [
        [
            str(row["examples"]),
            f"`{row['attack'].replace(', ', '`, ', 1)}" if ", " in row["attack"] else f"`{row['attack']}`",
            f"{row['seconds_at_all']:.1f}",
            f"{row['seconds_a_vector']:.2f}",
            f"{row['forwards_at_all']:,}",
            f"{row['forwards_a_vector']:,}",
        ]
        for row in load("attack_speed")["rows"]
    ]
    head = ["examples", "attack", "s at all", "s a vector", "forwards at all", "forwards a vector"]
    return markdown(head, rows)


TABLES: dict[str, Callable[[], str]] = {
    "attack_strength": attack_strength,
    "attack_speed": attack_speed,
    "slots_strength": slots_strength,
    "attacks_resisted": lambda: attacks_resisted("uploads", "aggregates"),
    "layers_resisted": lambda: attacks_resisted("uploads", metrics=_OF_LAYERS, layers=True),
    "attacks_unshrunk": lambda: attacks_resisted("unshrunk", attacks=("membership",)),
    "texts_resisted": lambda: attacks_resisted("texts"),
}
