"""Say which noise a budget asks for, or what given noise costs, before anyone spends it."""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defenses.decimals import at_most
from ifedpriv.commands.console import Json, print_json, say
from ifedpriv.commands.wire_bits import Width, Wire, taken_out, width
from ifedpriv.errors import InputError, UserError

if TYPE_CHECKING:
    from defenses.accounting import Attacker, Bound, Plan, Planned

_COLUMNS = 100
_EXAMPLE = "--release gaussian:sensitivity=1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `ifedpriv account`."""
    parser.add_argument(
        "--release",
        action="append",
        metavar="NAME:KEY=VALUE,...",
        help="one kind of release: its mechanism and parameters, count=N for how many times, share=S of the budget; "
        "without noise, it is found. May be given again. Mechanisms: gaussian (sensitivity, noise); "
        "sampled-gaussian and sampled-discrete-gaussian (rate, steps, noise_multiplier); "
        "discrete-gaussian (sensitivity, dimension, noise); "
        "distributed-discrete-gaussian (sensitivity, dimension, shares, noise_share); "
        "skellam (sensitivity_l2, sensitivity_l1, mu). The latter two with clients=N,bits=B, and perhaps wrap=P, "
        "also tell the bits of a value on the wire (skellam: dimension, and shares if not all clients')",
    )
    parser.add_argument(
        "--plan", type=Path, metavar="FILE", help="the same as YAML or JSON, in place of --release"
    )
    parser.add_argument("--epsilon", type=float, help="the budget; without it, every release gives its noise")
    parser.add_argument("--delta", type=float, help="failure probability of everything together")
    parser.add_argument(
        "--unit", choices=("example", "client"), help="whose presence is hidden (default: example)"
    )
    parser.add_argument(
        "--neighbouring",
        choices=("add-or-remove", "replace"),
        help="by which relation the sensitivities are given (default: add-or-remove)",
    )
    parser.add_argument(
        "--population", type=int, metavar="N", help="how many units there are, to check delta against"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    from defenses.accounting import plan_from_mapping

    fields, wires = _without_wires(_mapping(options))
    plan, epsilon = plan_from_mapping(fields)
    if plan.fixed:
        bound = plan.bound()
        if epsilon is not None and bound.epsilon > epsilon:
            raise UserError(
                f"the plan costs epsilon {at_most(bound.epsilon, 6)} at delta {plan.delta:g}, and the budget is "
                f"{epsilon:g}",
                "raise the noise, or leave it out and it is found",
            )
        shares: tuple[float | None, ...] = (None,) * len(plan.releases)
    elif epsilon is None:
        raise UserError("the plan leaves noise open and names no epsilon", "give --epsilon, or the noise")
    else:
        shares = tuple(
            None if release.fixed else weight
            for release, weight in zip(plan.releases, plan.weights, strict=True)
        )
        plan, bound = plan.calibrated(epsilon)
    attacker = plan.composition().attacker()
    widths = [
        None if wire is None else width(wire, release.mechanism)
        for wire, release in zip(wires, plan.releases, strict=True)
    ]
    if options.json:
        print_json(_document(plan, bound, attacker, widths))
    else:
        say(_text(plan, bound, attacker, shares, widths))
    return 0


def _without_wires(fields: dict[str, Any]) -> tuple[dict[str, Any], list[Wire | None]]:
    """The plan's fields without what releases say of the wire, and that."""
    releases = fields.get("releases")
    if not isinstance(releases, list | tuple):
        return fields, []
    found = [taken_out(release) if isinstance(release, dict) else (release, None) for release in releases]
    return {**fields, "releases": [release for release, _ in found]}, [wire for _, wire in found]


def _mapping(options: argparse.Namespace) -> dict[str, Any]:
    """The plan's fields: the file's, and over them those of the command line."""
    fields: dict[str, Any] = {"unit": "example", "neighbouring": "add-or-remove"}
    if options.plan is not None:
        if options.release:
            raise UserError("--plan is given with --release", "write all releases into the file, or none")
        fields |= _read(options.plan)
    elif options.release:
        fields["releases"] = [_release(text) for text in options.release]
    else:
        raise UserError("there is no release to account for", f"give {_EXAMPLE}, or --plan")
    for name in ("epsilon", "delta", "unit", "neighbouring", "population"):
        value = getattr(options, name)
        if value is not None:
            fields[name] = value
    return fields


def _release(text: str) -> dict[str, Any]:
    name, *parts = re.split("[:,]", text)
    release: dict[str, Any] = {"mechanism": name.strip()}
    for part in parts:
        key, equals, value = (word.strip() for word in part.partition("="))
        if not equals or not key or key in release:
            raise UserError(
                f"--release {text!r} has {part!r}", f"write name:key=value, each key once, as in {_EXAMPLE}"
            )
        try:
            release[key] = int(value) if re.fullmatch(r"[+-]?\d+", value) else float(value)
        except ValueError as error:
            raise UserError(f"--release {text!r} has {key} at {value!r}", "give a number") from error
    return release


def _read(path: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        data = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(
            f"--plan {path} cannot be read ({error.strerror or type(error).__name__})",
            "give a YAML or JSON file",
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"--plan {path} is not UTF-8 at byte {error.start}", "save it as UTF-8") from error
    except YAMLError as error:
        raise InputError(f"--plan {path} is no YAML", "mend it, or write JSON") from error
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise InputError(f"--plan {path} holds no plan", "write releases: and delta: at its top level")
    return data


def _document(
    plan: Plan, bound: Bound, attacker: Attacker, widths: Sequence[Width | None]
) -> dict[str, Json]:
    return {
        "epsilon": bound.epsilon,
        "delta": bound.delta,
        "unit": bound.unit,
        "neighbouring": bound.neighbouring,
        "method": bound.method,
        "releases": [{**release.mechanism.to_json(), "count": release.count} for release in plan.releases],
        "wire": [asdict(found) if found else None for found in widths],
        "attacker": {
            "true_positives": {f"{rate:g}": value for rate, value in attacker.true_positives.items()},
            "advantage": attacker.advantage,
        },
        "proved_in": _proofs(plan),
        "assumed": _assumed(plan),
    }


def _text(
    plan: Plan,
    bound: Bound,
    attacker: Attacker,
    shares: tuple[float | None, ...],
    widths: Sequence[Width | None],
) -> str:
    rows = [("release", "times", "share", "noise", "epsilon alone")]
    for release, share in zip(plan.releases, shares, strict=True):
        alone, _ = _alone(release).epsilon(plan.delta)
        noise = (
            f"{release.mechanism.noise_field}={getattr(release.mechanism, release.mechanism.noise_field):g}"
        )
        given = "given" if share is None else f"{share:.3g}"
        rows.append((_title(release), str(release.count), given, noise, at_most(alone, 4)))
    columns = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    rows.insert(1, tuple("-" * width for width in columns))  # type: ignore[arg-type]
    table = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, columns, strict=True)).rstrip()
        for row in rows
    ]
    reached = ", ".join(
        f"{at_most(100 * value, 3)} % at {100 * rate:g} % false alarms"
        for rate, value in attacker.true_positives.items()
    )
    sentences = [
        f"Together: epsilon {at_most(bound.epsilon, 6)} at delta {bound.delta:g}, by {bound.method}.",
        *(["That is no rounding: delta alone covers all that can be told."] if bound.epsilon == 0 else []),
        *(
            f"{release.mechanism.name}: {found.bits_per_value} bits a value on the wire under masks (the sum needs "
            f"{found.needed_bits}), {found.bytes_per_upload:,} bytes an upload."
            for release, found in zip(plan.releases, widths, strict=True)
            if found is not None
        ),
        f"The best attacker, who knows all data but one {plan.unit}, detects it with at most: {reached}.",
        f"Proved in: {'; '.join(_proofs(plan))}.",
        f"Assumed: {'; '.join(_assumed(plan))}.",
    ]
    wrapped = [line for sentence in sentences for line in textwrap.wrap(sentence, _COLUMNS)]
    return "\n".join([f"Plan for one {plan.unit} ({plan.neighbouring})", "", *table, "", *wrapped])


def _title(release: Planned) -> str:
    mechanism = release.mechanism
    hidden = {mechanism.noise_field}
    shown = {
        key: value
        for key, value in mechanism.parameters.items()
        if key not in hidden and value not in (None, 0.0)
    }
    return " ".join(
        [mechanism.name, *(f"{key}={value:g}" for key, value in shown.items() if value is not None)]
    )


def _alone(release: Planned) -> Any:
    from defenses.accounting import Composition

    return Composition.of([(release.mechanism, release.count)])


def _proofs(plan: Plan) -> list[str]:
    return list(dict.fromkeys(release.mechanism.theorem for release in plan.releases))


def _assumed(plan: Plan) -> list[str]:
    sensitivities = f"one {plan.unit} moves each release by no more than its sensitivity, whatever the data"
    return [sensitivities, *dict.fromkeys(release.mechanism.assumes for release in plan.releases)]
