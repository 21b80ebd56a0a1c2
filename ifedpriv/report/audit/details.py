"""The long tables of an audit: canaries, replays, curves, cheats, vectors and guesses.

The invariant: a text is shown as the JSON has it, so what is redacted there is redacted here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ifedpriv.report.audit.parts import Table, bracketed, number, reached

# So many hashes or texts say what was found; the JSON has them all.
_MOST = 8
_MOST_SUMS = 40
_COLUMNS = (
    ("labels", "class means", "total variation"),
    ("labels", "class means", "exact counts"),
    ("invert", "probe", "average precision"),
    ("invert", "unmix", "average precision"),
    ("invert", "slots", "private strings"),
    ("invert", "corpus", "corpus recall"),
    ("invert", "corpus", "corpus precision"),
    ("invert", "search", "exact match"),
    ("invert", "trained", "exact match"),
    ("membership", "likelihood ratio", "AUC"),
    ("membership", "source", "source accuracy"),
    ("membership", "near duplicates", "AUC"),
    ("membership", "paraphrases", "AUC"),
    ("coefficients", "shadow calibrations", "AUC"),
    ("coefficients", "linked rounds", "re-identification"),
)
_MARKS = {True: "holds", False: "FAILS", None: "not measured"}


def of_audit(audited: Mapping[str, Any]) -> tuple[Table, ...]:
    """Replays and canaries of an audited release; nothing where it was not played."""
    if "games" not in audited:
        return ()
    name = audited["release"]
    checks = tuple((check["name"], _MARKS[check["holds"]], check["why"]) for check in audited["checks"])
    order = [bound["estimator"] for bound in audited["games"][0]["bounds"]]
    games = [
        (game["canary"], *(reached(bound["epsilon"]) for bound in game["bounds"]), game["conclusion"])
        for game in audited["games"]
    ]
    ceilings = [number(bound["ceiling"]) for bound in audited["games"][0]["bounds"]]
    games.append(("ceiling", *ceilings, "the most that so many trials could prove"))
    once = audited["one_run"]
    if once is not None:
        told = f"{once['canaries']} canaries, ceiling {number(once['ceiling'])}; for information"
        blank = ["-"] * (len(order) - 2)
        games.append(("one run", number(once["gaussian"]), reached(once["epsilon"]), *blank, told))
    caption = f"ε at least, {audited['trials']:,} runs a side and canary; {audited['decided_by']} decides."
    return (
        Table(f"Replays with frozen noise: {name}", ("Check", "", "Why"), checks),
        Table(f"Canaries: {name}", ("Canary", *order, "Verdict"), tuple(games), caption),
    )


def of_curves(curves: Sequence[Mapping[str, Any]]) -> Table:
    """Areas, and true positive rates at low false positive rates."""
    rows = []
    for curve in curves:
        rates = [
            bracketed(rate["value"], rate["interval"]) if rate["enough"] else "not evaluable"
            for rate in curve["rates"]
        ]
        rows.append(
            (
                f"{curve['method']}, {curve['scope']}",
                bracketed(curve["auc"], curve["interval"]),
                *rates,
                curve["how"],
            )
        )
    heads = [f"TPR at {rate['false_positive_rate']:.1%} FPR" for rate in curves[0]["rates"]]
    caption = "All vectors together. A rate that so few candidates cannot certify is not evaluable."
    return Table("ROC", ("Method", "AUC [95%]", *heads, "Interval of the AUC"), tuple(rows), caption)


def of_cases(cases: Sequence[Mapping[str, Any]]) -> tuple[Table, ...]:
    """What a cheating server tried, and what came of it."""
    if not cases:
        return ()
    rows = tuple(
        (
            each["name"],
            each["verdict"],
            each["does"] + (f" (limited by: {each['limits']})" if each["limits"] else ""),
        )
        for each in cases
    )
    return (Table("Lies of a server, one by one", ("Lie", "came to", "What it does"), rows),)


def of_parts(parts: Sequence[Mapping[str, Any]]) -> list[Table]:
    """What each measure finds in each part of the vectors, beside its best control."""
    if not parts:
        return []
    rows = tuple(
        (
            part["what"],
            f"{part['measure']}: {part['metric']}",
            bracketed(part["value"], part["interval"]),
            *control_of(part),
            (part["verdict"] or "-").upper(),
        )
        for part in parts
    )
    caption = (
        "Each part is read as if nothing else had been uploaded. The worst verdict of a measure counts, so each "
        "part's verdict has an even share of the 5% of error."
    )
    heads = ("What is read", "Measure", "value [95%]", "best control", "which", "Verdict")
    return [Table("Part by part", heads, rows, caption, words_last=False)]


def of_sums(sums: Sequence[Mapping[str, Any]], isolated: Sequence[Mapping[str, Any]]) -> list[Table]:
    """Which sums there are, and whom combinations of them isolate."""
    found = []
    if sums:
        most = sums[:_MOST_SUMS]
        rows = tuple(
            (str(i), str(one["round"]), str(len(one["clients"])), ", ".join(map(str, one["clients"])))
            for i, one in enumerate(most, start=1)
        )
        caption = f"The first {_MOST_SUMS} of {len(sums)}." if len(sums) > _MOST_SUMS else ""
        found.append(Table("Sums of vectors", ("Sum", "round", "clients", "Which"), rows, caption))
    if isolated:
        rows = tuple(
            (
                one["who"],
                one["combination"],
                "-" if one["examples"] is None else str(one["examples"]),
                f"{one['error']:.3g}",
            )
            for one in isolated[:_MOST_SUMS]
        )
        caption = (
            "Error: standard deviation of each number of the vector that is left, from rounding and noise."
        )
        if len(isolated) > _MOST_SUMS:
            caption += f" The first {_MOST_SUMS} of {len(isolated)}."
        heads = ("Isolated", "by the sums", "examples", "error")
        found.append(Table("What combinations isolate", heads, rows, caption, words_last=False))
    return found


def control_of(finding: Mapping[str, Any]) -> tuple[str, str]:
    """The value and the name of a finding's best control, as they are written."""
    name, value = best_control(finding)
    return number(value), name


def best_control(finding: Mapping[str, Any]) -> tuple[str, float | None]:
    """The name and the value of a finding's best control; the nearest public texts read the vector and are none."""
    lower = finding["metric"] in ("total variation", "attribute variation")
    controls = {name: v for name, v in finding["controls"].items() if name != "nearest public texts"}
    if not controls:
        return "none", None
    name = (min if lower else max)(controls, key=lambda each: controls[each])
    return name, float(controls[name])


def curve_of(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The parts of the vectors as `ifedpriv.report.layers_plot` draws them."""
    places = {(part["group"], part["at"], part["branches"]): None for part in parts}
    metrics = {part["measure"]: part["metric"] for part in parts}
    nothing = {"value": None, "interval": None, "control": None}
    rows = []
    for group, at, branches in places:
        own = [
            part for part in parts if (part["group"], part["at"], part["branches"]) == (group, at, branches)
        ]
        measured = {
            part["measure"]: {
                "value": part["value"],
                "interval": part["interval"],
                "control": best_control(part)[1],
            }
            for part in own
        }
        told = {"group": group, "at": at, "branches": branches}
        rows.append({**told, "measured": {name: measured.get(name, nothing) for name in metrics}})
    layers = 1 + max((part["at"] for part in parts if part["at"] is not None), default=0)
    return {"metrics": metrics, "layers": layers, "parts": rows}


def of_vectors(vectors: Sequence[Mapping[str, Any]]) -> tuple[Table, ...]:
    """A row for each vector, with the main numbers on it."""
    measured = [[_value(vector, *column) for column in _COLUMNS] for vector in vectors]
    used = [i for i in range(len(_COLUMNS)) if any(row[i] is not None for row in measured)]
    if not vectors:
        return ()
    heads = ["Vector", "examples", *(f"{_COLUMNS[i][1]}: {_COLUMNS[i][2]}" for i in used)]
    rows = tuple(
        (
            vector["who"],
            "-" if vector["examples"] is None else str(vector["examples"]),
            *(number(row[i]) for i in used),
        )
        for vector, row in zip(vectors, measured, strict=True)
    )
    return (Table("Main numbers by vector", tuple(heads), rows, words_last=False),)


def of_guesses(vectors: Sequence[Mapping[str, Any]]) -> tuple[Table, ...]:
    """What was guessed of each vector, beside what is truly behind it."""
    rows = []
    for vector in vectors:
        if vector["texts"]:
            rows.append((vector["who"], "the truth", _some(vector["texts"])))
        for result in vector["results"]:
            for guessed in result["guessed"]:
                said = guessed.get("texts") or guessed.get("words")
                if said:
                    rows.append((vector["who"], f"{result['attack']}, {result['method']}", _some(said)))
                elif "shares" in guessed:
                    shares = [number(share) for share in guessed["shares"]]
                    rows.append(
                        (vector["who"], f"{result['attack']}, shares of each class", " ".join(shares))
                    )
                elif "mix" in guessed:
                    mix = [f"{value} {number(share)}" for value, share in guessed["mix"].items()]
                    rows.append(
                        (vector["who"], f"attributes, shares of {guessed['attribute']}", ", ".join(mix))
                    )
    caption = "Shares of classes stand in the order of the label words."
    return (Table("Guesses", ("Vector", "By", "Guessed"), tuple(rows), caption),) if rows else ()


def _value(vector: Mapping[str, Any], attack: str, method: str, metric: str) -> float | None:
    for result in vector["results"]:
        if (result["attack"], result["method"]) == (attack, method):
            found = result["values"].get(metric)
            return None if found is None else float(found)
    return None


def _some(said: Sequence[str]) -> str:
    more = f" and {len(said) - _MOST} more" if len(said) > _MOST else ""
    return " | ".join(said[:_MOST]) + more
