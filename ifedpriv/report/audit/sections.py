"""From an audit's JSON to sections of sentences, tables and figures that any renderer can show.

The invariant: every number that is shown comes from the JSON, and stands beside its interval and its controls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ifedpriv.report.audit import details
from ifedpriv.report.audit.parts import Section, Table, bracketed, number, played, promised, reached
from ifedpriv.report.wording import defense_in_words

Document = Mapping[str, Any]

VERDICTS = {
    "severe": "an attack gets most of what it is after, or a name or number to the letter",
    "works": "an attack gets clearly more than anybody who lacks the vector",
    "inconclusive": "not surely above the best control, or above it and short of the threshold; each test says which",
    "resisted": "within 0.02 of the best control, on 100 vectors or more",
    "not evaluable": "it could not be run, or on too little; this is not a pass",
}
_BESIDE = "A protocol is RESISTED where each lie was refused or harmless, and sums where none isolates too few clients."
_SETTINGS = {
    "pool": "candidates asked for",
    "covered": "share of true texts in the pool",
    "without": "withheld",
    "colluding": "colluding clients",
    "trials": "releases a side and canary",
    "one_run": "canaries of the single run",
    "alpha": "level of the bound's verdict",
    "inverters": "a folder for trained inverters",
    "public_file": "public texts, SHA-256",
    "pool_file": "candidates, SHA-256",
}
_TITLES = {
    "attributes": "Attributes: domains, languages, and what else public texts carry",
    "labels": "Labels: how many examples of each class",
    "invert": "Texts: which words, names and numbers, and which texts of a pool",
    "membership": "Membership: was this text in, and whose is it",
    "coefficients": "Coefficients: members, label mixes, and who is who again",
    "deployed": "The finished injection: what its users can tell of members",
    "layers": "Layers: which part of the vectors tells most",
    "diff": "Differences: what sums give away when they are subtracted",
    "server": "A cheating server",
}


def headline(document: Document) -> str:
    """The verdict in a few words."""
    verdict = document["verdict"]
    bound = verdict["bound"].upper() if verdict["declared"] else "NONE DECLARED"
    return f"attacks: {verdict['attacks'].upper()}; bound: {bound}"


def verdict_lines(document: Document) -> list[str]:
    """The verdict in sentences."""
    verdict = document["verdict"]
    counts = verdict["counts"]
    told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    lines = [
        f"Attacks on the recording: {verdict['attacks'].upper()}, {VERDICTS[verdict['attacks']]}. "
        f"Of {sum(counts.values())} tests: {told}."
    ]
    protocol = next(test for test in document["tests"] if test["attack"] == "server")
    lines.append(f"A cheating server: {verdict['protocol'].upper()}, {protocol['why']}.")
    reached = [t for t in document["tests"] if t["verdict"] in ("severe", "works") and t["findings"]]
    lines += [f"{test['verdict'].upper()}: {named(test)}; {best(test)}." for test in reached]
    bound = document["bound"]
    if not verdict["declared"]:
        lines.append(f"Bound: none is declared ({bound['why']}), so nothing limits what an upload may tell.")
    else:
        declared = bound["declared"]
        lines.append(
            f"Bound: {verdict['bound'].upper()}. Declared is ε = {promised(declared['epsilon'])} at δ = "
            f"{declared['delta']:g} for one {declared['unit']} ({declared['neighbouring']}): {bound['why']}."
        )
        if declared["simulation"]:
            lines.append(
                "Its noise was drawn from a seed that can be foretold: a simulation, which protects nobody."
            )
    if document["lacks"]:
        lines.append(f"NOTE: {document['lacks']}. All numbers are of what is left of it.")
    if not document["scored"]:
        lines.append("Nothing was scored, since nobody here knows whose texts are behind the recording.")
    return lines


def named(test: Mapping[str, Any]) -> str:
    """A test in a few words."""
    return f"{test['attack']}, {test['method']} ({test['scope']})"


def best(test: Mapping[str, Any]) -> str:
    """The number that decides a test, with its interval and its best control; else why there is none."""
    found = next(
        (f for f in test["findings"] if f["metric"] == test["decided_by"] and f["value"] is not None), None
    )
    if found is None:
        return str(test["why"])
    said = f"{found['metric']} {bracketed(found['value'], found['interval'])}, {_control(found)}"
    return said if test["verdict"] in ("severe", "works") else f"{said}; {test['why']}"


def _control(finding: Mapping[str, Any]) -> str:
    value, name = details.control_of(finding)
    return "no control" if name == "none" else f"control {value} ({name})"


def sections(document: Document) -> list[Section]:
    """The whole report."""
    found = [_knowledge(document), _bound(document)]
    for attack in dict.fromkeys(test["attack"] for test in document["tests"]):
        found.append(_attack(document, attack))
    return [*found, _vectors(document), _not_covered(document), _repeat(document)]


def _knowledge(document: Document) -> Section:
    rows = tuple((row["what"], "yes" if row["has"] else "no", row["detail"]) for row in document["knowledge"])
    lines = (
        f"Attacked is what the server has seen of the run {document['run']} under "
        f"{defense_in_words(document['defense'])}, by a server that follows the protocol and computes what it likes.",
    )
    return Section(
        "knowledge",
        "What was attacked, and what the attacker knows",
        lines,
        (Table("The attacker's means", ("It has", "", "Which"), rows),),
    )


def _bound(document: Document) -> Section:
    bound = document["bound"]
    audited = bound["audited"] or {}
    declared, accounted = bound["declared"], bound["accounted"]
    if declared is None:
        return Section("bound", "The declared bound", (f"Not evaluable: {bound['why']}.",))
    rows = [
        (
            "the whole run",
            promised(declared["epsilon"]),
            promised(accounted["epsilon"]) if accounted else "-",
            "-",
            "-",
            bound["conclusion"].upper() if not audited else "accounted anew from the ledger",
        )
    ]
    for release in audited.get("releases", ()):
        name = played(release)
        said = release["conclusion"].upper()
        if "claim" not in release:
            rows.append((name, "-", "-", "-", "-", f"{said}: {release['why']}"))
            continue
        rows.append(
            (
                name,
                "-",
                promised(release["claim"]["epsilon"]),
                reached(release["lower_bound"]),
                number(release["ceiling"]),
                f"{said}, by the estimator {release['decided_by']}, {release['trials']:,} runs a side"
                + (f"; {release['note']}" if release["note"] else ""),
            )
        )
    caption = (
        f"ε at δ = {declared['delta']:g}. Accounted: what the proof gives. At least: what canaries prove the mechanism "
        "to leak. Ceiling: the most that so many trials could prove; below the accounted ε, nothing can be refuted."
    )
    table = Table(
        "Declared, accounted and audited",
        ("Release", "declared", "accounted", "at least", "ceiling", "Verdict"),
        tuple(rows),
        caption,
    )
    lines = (f"{bound['conclusion'].upper()}: {bound['why']}.",)
    folded = [table for release in audited.get("releases", ()) for table in details.of_audit(release)]
    return Section("bound", "The declared bound", lines, (table,), tuple(folded))


def _attack(document: Document, attack: str) -> Section:
    tests = [test for test in document["tests"] if test["attack"] == attack]
    rows, idle = [], []
    for test in tests:
        if not test["findings"]:
            idle.append((test["method"], test["scope"], test["verdict"].upper(), test["why"]))
        for finding in test["findings"]:
            if finding["value"] is None:
                idle.append((test["method"], test["scope"], "NOT EVALUABLE", finding["why"]))
                continue
            controls = "; ".join(f"{name} {number(v)}" for name, v in sorted(finding["controls"].items()))
            rows.append(
                (
                    f"{test['method']}, {test['scope']}",
                    finding["metric"],
                    bracketed(finding["value"], finding["interval"]),
                    str(finding["vectors"]),
                    (finding["verdict"] or "-").upper(),
                    "; ".join(part for part in (controls or "none", finding["why"]) if part),
                )
            )
    tables = []
    if rows:
        heads = ("Method", "metric", "value [95%]", "vectors", "Verdict", "Controls, and why")
        caption = (
            "Intervals are bootstraps over vectors. Controls are the same number for guesses without the vector; "
            "'nearest public texts' reads the vector as simply as can be and decides nothing."
        )
        tables.append(Table(f"{attack}: numbers", heads, tuple(rows), caption))
    columns = ("Method", "on", "Verdict", "Why")
    for what, whether in (("verdicts without a number", False), ("not measured", True)):
        # The algebra of sums and a protocol have a verdict of their own, and that is no lack of a measurement.
        chosen = tuple(row for row in idle if (row[2] == "NOT EVALUABLE") is whether)
        if chosen:
            tables.append(Table(f"{attack}: {what}", columns, chosen))
    curves = tuple(curve for curve in document["curves"] if curve["attack"] == attack)
    if curves:
        tables.append(details.of_curves(curves))
    folded = details.of_cases(document["cheating_server"]) if attack == "server" else ()
    drawn = None
    if attack == "layers" and document["parts"]:
        drawn = details.curve_of(document["parts"])
        tables += details.of_parts(document["parts"])
    if attack == "diff":
        tables += details.of_sums(document["sums"], document["isolated"])
    lines = _said(tests)
    return Section(
        attack, _TITLES.get(attack, attack), lines, tuple(tables), folded, curves, _allowed(document), drawn
    )


def _said(tests: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """A sentence for each test, and one for all of which the same is to be said."""
    together: dict[tuple[str, str, str], list[str]] = {}
    for test in tests:
        together.setdefault((test["verdict"], test["scope"], best(test)), []).append(test["method"])
    return tuple(
        f"{verdict.upper()}: {' / '.join(methods)}, {scope}; {said}."
        for (verdict, scope, said), methods in together.items()
    )


def _allowed(document: Document) -> tuple[float, float] | None:
    """The bound that limits a guess about one example."""
    declared = document["bound"]["declared"]
    if declared is None or declared["unit"] != "example":
        return None
    return declared["epsilon"], declared["delta"]


def _vectors(document: Document) -> Section:
    how = (
        "Texts and words are shown as they are."
        if document["revealed"]
        else "Texts and words are shown as keyed hashes, equal where they are equal; --reveal shows them."
    )
    tables = details.of_vectors(document["vectors"])
    guessed = details.of_guesses(document["vectors"])
    return Section("vectors", "Vector by vector", (how,), tables, guessed)


def _not_covered(document: Document) -> Section:
    return Section("not-covered", "What this audit does not look at", tuple(document["not_covered"]))


def _repeat(document: Document) -> Section:
    settings = document["settings"]
    facts = {
        "model": document["model"],
        "task": document["task"],
        **{
            _SETTINGS.get(name, name.replace("_", " ")): _in_words(value)
            for name, value in settings.items()
            if value not in (None, [], False)
        },
        **document["versions"],
    }
    rows = tuple((name, str(value)) for name, value in facts.items())
    told = " ".join(f"{name.upper()}: {meaning}." for name, meaning in VERDICTS.items())
    lines = (
        "The same files, settings and versions give the same report to the digit.",
        f"Verdicts: {told} {_BESIDE} Thresholds: docs/attacks.md, docs/differencing.md and docs/audits.md.",
    )
    table = Table("Model, settings and versions", ("What", "Value"), rows)
    data = {"config": document["config"], "defense": document["defense"]}
    return Section("repeat", "Repeat it", lines, (table,), data=data)


def _in_words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "yes" if value is True else str(value)
