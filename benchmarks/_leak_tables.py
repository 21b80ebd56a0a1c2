"""Table of what released coefficients give away, for `findings.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from _tables import cells, load, markdown
from scipy.special import ndtr

from defenses.accounting import gaussian_mu_for
from defenses.accounting.tradeoff import gaussian_tpr

_DELTA, _RATE = 1e-5, 0.1
_FIGURES = ("AUC", "TPR", "expected AUC", "expected TPR", "mu")


def coefficient_leak() -> str:
    """One row for what is looked at: means over all targets, and the least and the most of one target.

    Targets of one federation share their shadow runs, so an interval over targets would be too narrow; there is none.
    """
    rows = []
    for cell, by_seed in cells("coefficient_leak").items():
        collected: dict[str, dict[str, list[float]]] = {}
        for figures in by_seed.values():
            for key, value in figures.items():
                rest, _, _ = key.rpartition(", ")
                name, _, figure = rest.rpartition(", ")
                if figure in _FIGURES:
                    collected.setdefault(name, {}).setdefault(figure, []).append(value)
                else:
                    collected.setdefault("vector", {}).setdefault(rest, []).append(value)
        for name, by_figure in collected.items():
            rows.append([f"{cell}: {name}", *_figures(by_figure)])
    for epsilon in (1.0, 8.0):
        mu = gaussian_mu_for(epsilon, _DELTA)
        bound = [f"{float(ndtr(mu / 2**0.5)):.3f}", f"{gaussian_tpr(_RATE, mu):.3f}", f"{mu:.3f}"]
        rows.append([f"the most that epsilon {epsilon:g} allows", "", "", *bound, ""])
    head = ["", "AUC", "TPR at 10% FPR", "AUC by separation", "TPR by separation", "separation μ", "targets"]
    kept = [0, *(at for at in range(1, len(head)) if any(row[at] for row in rows))]
    return markdown([head[at] for at in kept], [[row[at] for at in kept] for row in rows])


def _figures(by_figure: dict[str, list[float]]) -> list[str]:
    if "vector moves" in by_figure:
        # No draw moves it, so that any change at all tells the two apart.
        certain = "1 (always)" if min(by_figure["vector moves"]) > 0 else "0.5 for some"
        return [certain, certain, "", "", "", str(len(by_figure["vector moves"]))]
    texts = [_over_targets(by_figure[figure]) if figure in by_figure else "" for figure in _FIGURES]
    return [*texts, str(len(by_figure["AUC"]))]


def _over_targets(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):.3f} ({min(values):.2f} to {max(values):.2f})"


def gradient_members() -> str:
    """One row for each run and metric: how well members are told from noised sums, beside the best control."""
    methods = ("noised gradients", "noised gradients, all others known")
    rows = []
    for row in load("gradient_members")["rows"]:
        by_name = {(each["method"], each["metric"]): each for each in row["findings"]}
        for metric in ("AUC", "TPR at 1% FPR"):
            texts = []
            for method in methods:
                found = by_name[method, metric]
                low, high = found["interval"]
                best = max(found["controls"].values())
                texts += [f"{found['value']:.3f} [{low:.3f}, {high:.3f}] ({best:.3f})", found["verdict"]]
            about = [f"{row['epsilon']:g}", f"{row['vectors']} of {row['examples']}", f"{row['rounds']}"]
            rows.append([*about, metric, *texts])
    head = ["epsilon", "uploads", "rounds", "", "knows public texts", "", "knows all others", ""]
    return markdown(head, rows)


TABLES: dict[str, Callable[[], str]] = {
    "coefficient_leak": coefficient_leak,
    "gradient_members": gradient_members,
}
