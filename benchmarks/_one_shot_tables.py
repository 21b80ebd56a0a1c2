"""Tables of one-shot runs for `findings.py`: what is recovered, what budgets buy, and what a whole task costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from _sweep import mean_text
from _tables import cells, load, markdown, plain, values

Found = Mapping[str, Mapping[str, Mapping[str, float]]]

_AT = 5000
"""Examples at which all tasks are compared."""
SHOTS, PLAIN = "8-shot prompt", "zero-shot"
AGREEING = ("tone", "urgency", "mood", "channel", "topic", "intake")


def gain() -> str:
    """One row a figure, one column a task; the last column is the mean over the tasks whose clients agree."""
    found = _gained()
    keys = list(next(iter(next(iter(found.values())).values())))
    order = [PLAIN, SHOTS, *(key for key in keys if key not in (PLAIN, SHOTS))]
    rows = []
    for key in order:
        means = [f"{np.mean(values(by_seed, key)):.3f}" for by_seed in found.values()]
        rows.append([key, *means, _short(_over_tasks(found, key))])
    return markdown(["", *found, "mean of the first six"], rows)


def _gained() -> Found:
    """Both results as one: figures that every cell has, for the seeds that both have."""
    fitted, unfitted = cells("one_shot_gain"), cells("one_shot_unfitted")
    joined: dict[str, dict[str, dict[str, float]]] = {}
    for task, by_seed in fitted.items():
        seeds = [seed for seed in by_seed if seed in unfitted[task]]
        joined[task] = {seed: {**by_seed[seed], **unfitted[task][seed]} for seed in seeds}
    shared = min(len(by_seed) for by_seed in joined.values())
    return {task: dict(sorted(by.items(), key=lambda kv: int(kv[0]))[:shared]) for task, by in joined.items()}


def _over_tasks(found: Found, key: str) -> list[float]:
    """Mean over tasks, seed by seed."""
    each = np.asarray([values(found[task], key) for task in AGREEING])
    return [float(x) for x in each.mean(axis=0)]


def recovered() -> str:
    """Shares of the gain of 8-shot prompts over zero-shot; ratios of means over tasks, seed by seed."""
    found = _gained()
    bare, shots = (np.asarray(_over_tasks(found, key)) for key in (PLAIN, SHOTS))
    rows = []
    for key in next(iter(next(iter(found.values())).values())):
        if key in (PLAIN, SHOTS):
            continue
        share = (np.asarray(_over_tasks(found, key)) - bare) / (shots - bare)
        rows.append([key, _short([float(x) for x in share])])
    return markdown(["", "share of the gain of 8-shot prompts"], rows)


def adapters() -> dict[str, dict[str, dict[str, float]]]:
    """Private adapters in the form of the curve's cells: one for each number of examples, whatever the recipe was."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, by_seed in cells("private_lora").items():
        task, examples, budget, _ = name.split(", ", 3)
        cell = found.setdefault(f"{task}, DP-SGD LoRA, {examples}", {})
        for seed, figures in by_seed.items():
            cell.setdefault(seed, {})[budget.split()[1]] = figures["accuracy"]
    return found


def recipes() -> str:
    """One row a recipe of private adapters, one column a number of examples and a budget."""
    return plain("private_lora_grid", "recipe")


def options() -> str:
    """One row a way of spending less on noise, two budgets for each task."""
    found: Found = cells("one_shot_options")
    tasks = list(dict.fromkeys(cell.partition(", ")[0] for cell in found))
    budgets = list(next(iter(next(iter(found.values())).values())))
    rows = [
        [name, *(_short(values(found[f"{task}, {name}"], key)) for task in tasks for key in budgets)]
        for name in dict.fromkeys(cell.partition(", ")[2] for cell in found)
    ]
    return markdown(["500 examples", *(f"{task}, ε = {key}" for task in tasks for key in budgets)], rows)


def curve() -> str:
    """One row a mode and number of examples, one column a budget; where seeds differ in number, both ends."""
    own: Found = cells("one_shot_curve")
    shown = {_place(cell)[0] for cell in own}
    # Adapters of the other tasks stand beside all of them, in `tasks`.
    found = {**own, **{cell: each for cell, each in adapters().items() if _place(cell)[0] in shown}}
    budgets = sorted({key for by in found.values() for figures in by.values() for key in figures}, key=float)
    rows = []
    for cell, by_seed in sorted(found.items(), key=lambda item: _place(item[0])):
        each = {key: [f[key] for f in by_seed.values() if key in f] for key in budgets}
        counts = sorted({len(measured) for measured in each.values() if measured})
        seeds = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        rows.append([cell, seeds, *(_short(each[key]) if each[key] else "" for key in budgets)])
    return markdown(["", "seeds", *(f"ε = {b}" if b != "inf" else "no privacy" for b in budgets)], rows)


def tasks() -> str:
    """One row a mode and budget, one column a shipped task, at 5,000 examples; zero-shot beside them."""
    found: Found = {**cells("one_shot_curve"), **cells("one_shot_tasks"), **adapters()}
    bare = cells("one_shot_gain")
    rows = [[PLAIN, "", *(f"{np.mean(values(bare[task], PLAIN)):.3f}" for task in AGREEING)]]
    for mode in ("public", "federated", "federated (even shares)", "DP-SGD LoRA"):
        for budget in ("0.25", "1", "inf"):
            row = [mode, budget if budget != "inf" else "no privacy"]
            for task in AGREEING:
                by_seed = found.get(f"{task}, {mode}, {_AT} examples", {})
                each = [figures[budget] for figures in by_seed.values() if budget in figures]
                row.append(_short(each) if each else "")
            if any(row[2:]):
                rows.append(row)
    return markdown([f"{_AT:,} examples", "ε", *AGREEING], rows)


def _place(cell: str) -> tuple[str, int, str]:
    task, mode, examples = cell.split(", ")
    return task, int(examples.split()[0]), mode


def _short(values: Sequence[float]) -> str:
    """Mean with Student's interval; half the range where two seeds leave no interval worth the name."""
    if len(values) == 1:
        return f"{values[0]:.3f}"
    if len(values) == 2:
        return f"{np.mean(values):.3f} ±{(max(values) - min(values)) / 2:.3f}"
    return mean_text(values)


def clients() -> str:
    """One row a number of clients, one column a budget."""
    found: Found = cells("one_shot_clients")
    keys = list(next(iter(next(iter(found.values())).values())))
    rows = [
        [cell.partition(", ")[2], str(len(by)), *(_short(values(by, key)) for key in keys)]
        for cell, by in found.items()
    ]
    columns = [f"ε = {key}" if key != "inf" else "no privacy" for key in keys]
    return markdown(["of 32 examples each", "seeds", *columns], rows)


def cost() -> str:
    """Messages, bytes and seconds of one client over a whole task."""
    rows = [
        [name, str(row["rounds"]), f"{row['up']:,.0f}", f"{row['down']:,.0f}", f"{row['seconds']:.2f}"]
        for name, row in load("one_shot_cost")["rows"].items()
    ]
    return markdown(["", "messages", "up B", "down B", "client CPU s"], rows)


TABLES: dict[str, Callable[[], str]] = {
    "one_shot_gain": gain,
    "one_shot_recovered": recovered,
    "one_shot_curve": curve,
    "one_shot_tasks": tasks,
    "one_shot_options": options,
    "private_lora_grid": recipes,
    "one_shot_clients": clients,
    "one_shot_cost": cost,
}
