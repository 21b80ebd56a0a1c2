"""Reports for tests. Every number is invented: believable, fixed, and measured nowhere."""

from __future__ import annotations

from ifedpriv.report.schema import (
    BackboneFacts,
    CoefficientRecord,
    Figure,
    GuardVerdict,
    Holdings,
    PrivacyRecord,
    Report,
    RoundRecord,
    RoundSummary,
    Row,
    TaskFacts,
    Totals,
    Traffic,
)

FIXTURE_WARNING = "these numbers are a fixture for tests, not a measurement"
N = 500
CLIENTS = tuple(f"client-{i}" for i in range(8))
WORDS = ("harbour", "market", "theatre", "weather")
NO_TRAFFIC = Traffic(0, 0)
VECTOR = 5 * 2 * 128 * 4
COEFFICIENTS = 5 * 2 * 2 * 4
ROUNDS = 8
ONE_CLIENT = Traffic(VECTOR + (ROUNDS - 1) * COEFFICIENTS, VECTOR + (ROUNDS - 1) * COEFFICIENTS + ROUNDS * 88)


def score(value: float, half: float = 0.04, method: str = "Wilson", n: int = N) -> Figure:
    return Figure(value, max(0.0, value - half), min(1.0, value + half), 0.95, method, n)


def row(
    key: str,
    name: str,
    first: float,
    second: float,
    metrics: tuple[str, str] = ("accuracy", "macro_f1"),
    traffic: Traffic = NO_TRAFFIC,
    seconds: float = 0.0,
    tokens: float = 21.0,
    notes: str = "",
) -> Row:
    ways = ("Wilson", "bootstrap") if metrics[0] == "accuracy" else ("Wilson", "bootstrap of a mean")
    figures = {
        metrics[0]: score(first, 0.043, ways[0]),
        metrics[1]: score(second, 0.045, ways[1]),
    }
    return Row(key, name, figures, traffic, traffic, seconds, tokens, notes)


def round_records() -> tuple[RoundRecord, ...]:
    tests = (0.516, 0.648, 0.74, 0.802, 0.826, 0.838, 0.82, 0.832)
    records = []
    for number, value in enumerate(tests):
        payload = len(CLIENTS) * (VECTOR if number == 0 else COEFFICIENTS)
        dropped = ("client-3",) if number == 4 else ()
        records.append(
            RoundRecord(
                round=number,
                loss=None if number == 0 else round(1.9 - 0.21 * number + 0.012 * number**2, 4),
                validation=score(value - 0.011, 0.06, n=160),
                test=score(value, 0.036),
                up_bytes=Traffic(payload, payload + 88 * len(CLIENTS)),
                down_bytes=Traffic(payload, payload + 88 * len(CLIENTS)),
                seconds=round(2.4 + 0.1 * number, 2),
                took_part=tuple(name for name in CLIENTS if name not in dropped),
                dropped=dropped,
                epsilon=None,
            )
        )
    return tuple(records)


def classification_rows() -> tuple[Row, ...]:
    mean = "mean over the 8 clients"
    return (
        row("zero_shot", "Zero-shot", 0.31, 0.284),
        row("local_icl", "Local ICL", 0.694, 0.671, tokens=253.4, notes=mean),
        row("local_injection", "Local injection", 0.612, 0.588, seconds=17.62, notes=mean),
        row("global_injection", "Global injection", 0.832, 0.82, traffic=ONE_CLIENT, seconds=18.241),
        row("zero_vector", "Control: no vector", 0.402, 0.36, traffic=ONE_CLIENT, seconds=18.11),
    )


def privacy(epsilon: float | None = None, simulation: bool = False) -> PrivacyRecord:
    if epsilon is None:
        text = "There is no privacy bound. The server reads every upload. Releases: 8."
    else:
        text = f"The run is ({epsilon:g}, 1e-05)-differentially private for one example (add or remove)."
    delta = None if epsilon is None else 1e-5
    return PrivacyRecord(text, {"schema": 1, "epsilon": epsilon, "delta": delta, "simulation": simulation})


def classification_report(**changes: object) -> Report:
    """A standard run on a task with four classes, without any defense."""
    records = round_records()
    content: dict[str, object] = {
        "run": "fixture-places",
        "started": "2026-01-02T03:04:05+00:00",
        "versions": {"ifedpriv": "0.1.0", "python": "3.11.9", "torch": "2.6.0"},
        "platform": {"system": "Linux x86_64", "device": "cpu", "dtype": "float32"},
        "seeds": {"run": 7, "partition": 11},
        "config": {
            "method": {"kind": "ifed_icl", "rounds": 7},
            "partition": {"kind": "dirichlet", "alpha": 0.5},
        },
        "backbone": BackboneFacts("ifedpriv-small", "llama", 5, 128, "sha256:0f1e2d3c4b5a6978"),
        "task": TaskFacts(
            "places",
            "classification",
            WORDS,
            N,
            Holdings(
                CLIENTS,
                tuple("coast" if i % 2 else "inland" for i in range(8)),
                WORDS,
                tuple(tuple((3 * i + 7 * c) % 13 for c in range(4)) for i in range(8)),
            ),
        ),
        "primary_metric": "accuracy",
        "rows": classification_rows(),
        "rounds": records,
        "round_summary": RoundSummary.of(records),
        "coefficients": CoefficientRecord(
            initial=tuple((((0.1, 1.0), (0.1, 1.0))) for _ in range(5)),
            final=tuple(
                ((0.4 + 0.55 * layer - 0.09 * layer**2, 0.92 - 0.1 * layer), (0.12 - 0.02 * layer, 1.04))
                for layer in range(5)
            ),
        ),
        "privacy": privacy(),
        "guard": GuardVerdict(True, 0.821, 0.305, 160, "The injection beats zero-shot."),
        "warnings": (FIXTURE_WARNING,),
        "totals": Totals(
            clients=8,
            rounds=8,
            up_bytes=Traffic(8 * ONE_CLIENT.payload, 8 * ONE_CLIENT.wire),
            down_bytes=Traffic(8 * ONE_CLIENT.payload, 8 * ONE_CLIENT.wire),
            client_seconds=145.93,
            seconds=171.2,
        ),
    }
    return Report(**(content | changes))


def generation_report(**changes: object) -> Report:
    """A run that answers with text, scored by exact match and ROUGE-L, whose guard refuses the injection."""
    metrics = ("exact_match", "rouge_l")
    content: dict[str, object] = {
        "run": "fixture-names",
        "task": TaskFacts(
            "names",
            "generation",
            (),
            N,
            Holdings(CLIENTS, ("all",) * 8, ("examples",), tuple((20 + i,) for i in range(8))),
        ),
        "primary_metric": "exact_match",
        "rows": (
            row("zero_shot", "Zero-shot", 0.404, 0.551, metrics),
            row("local_icl", "Local ICL", 0.73, 0.802, metrics, tokens=310.0),
            row(
                "global_injection",
                "Global injection",
                0.388,
                0.532,
                metrics,
                traffic=ONE_CLIENT,
                seconds=30.5,
            ),
        ),
        "rounds": (),
        "round_summary": None,
        "coefficients": None,
        "privacy": privacy(2.0, simulation=True),
        "guard": GuardVerdict(False, 0.38, 0.4, 160, "The injection does not beat zero-shot."),
    }
    return classification_report(**(content | changes))
