"""Whole runs in rings chosen for a chance of a wrap: the same numbers at fewer bits, and what is said of it."""

import json
import math

import pytest
from program import called
from runs import found
from tiny import examples, tiny_config, write_config

from defenses.accounting.spent import mechanism_of
from defenses.dp.release import Bounded
from defenses.ledger import Ledger
from ifedpriv.config import load_config
from ifedpriv.experiment.rundir import RunDirectory

WRAP, DELTA, EPSILON = 1e-9, 1e-3, 4.0
PRIVACY = {"trust": "distributed", "unit": "client", "epsilon": EPSILON, "delta": DELTA, "bits": 14}
CLIENTS = ({"kind": "masked"}, {}, {"method.aggregation": "uniform"})
WAYS = {
    "clients, skellam, rotated, ratcheted": (
        {"kind": "masked", "ratchet": True},
        {"grid": {"noise": "skellam", "rotate": True}, "dropout": 0.2},
        {"method.aggregation": "uniform"},
    ),
    "examples": (
        {"kind": "masked"},
        {"unit": "example", "bits": 16, "max_examples": 16, "dropout": 0.2},
        {"method.aggregation": "count"},
    ),
    "prototypes, in two layouts": (
        {"kind": "masked"},
        {"bits": 20},
        {
            "method": {
                "kind": "prototype_icl",
                "guard": False,
                "calibration": {"rounds": 2, "steps": 2, "batch_size": 4},
                "clusters": {"number": 2, "min_members": 1, "public": {"path": "public.jsonl", "texts": 32}},
            },
        },
    ),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    config = {**tiny_config(folder), "partition": {"kind": "iid", "clients": 5}, "seed": 3}
    config["data"]["path"] = str(folder / "data")
    config["data_root"] = str(folder)
    config["evaluation"] |= {"local_icl": False, "local_injection": False}
    write_config(folder / "config.yaml", config)
    lines = [json.dumps({"text": example.text}) for example in examples(40, 9)]
    (folder / "public.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def asked(world, wrap, defense, privacy, changes):
    """The command line of a run."""
    section = {
        **PRIVACY,
        "public": {"path": "public.jsonl", "texts": 32},
        **privacy,
        "grid": {**privacy.get("grid", {}), "wrap": wrap},
    }
    given = {"defense": {**defense, "privacy": section}, **changes}
    sets = [part for name, value in given.items() for part in ("--set", f"{name}={json.dumps(value)}")]
    return ["run", world / "config.yaml", *sets]


def ledger_of(out):
    return Ledger.from_json(RunDirectory(out).load_checkpoint()[1]["ledger"])


@pytest.fixture(
    scope="module",
    # Clusters take a run twice as long as the others.
    params=[pytest.param(way, marks=[pytest.mark.slow] * ("prototypes" in way), id=way) for way in WAYS],
)
def both(request, world, tmp_path_factory):
    """A run in rings chosen for a chance, and one with the very same noise in rings that hold every sum."""
    folder = tmp_path_factory.mktemp("runs")
    arguments = asked(world, WRAP, *WAYS[request.param])
    narrow = called(*arguments, "--out", folder / "narrow")
    assert narrow.code == 0, narrow
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bounded, "ring", lambda self, roster: None)
        wide = called(*arguments, "--out", folder / "wide")
    assert wide.code == 0, wide
    return folder / "narrow", folder / "wide", narrow


def test_the_numbers_are_those_of_the_hard_bound_in_fewer_bytes(both):
    narrow, wide, _ = both
    ours, theirs = found(narrow), found(wide)
    assert [answers(row) for row in ours["report"]["rows"]] == [
        answers(row) for row in theirs["report"]["rows"]
    ]
    for line, other in zip(ours["rounds"], theirs["rounds"], strict=True):
        assert (line["loss"], line["test"], line["epsilon"]) == (
            other["loss"],
            other["test"],
            other["epsilon"],
        )
        assert line["took_part"] == other["took_part"]
        # Between the ring that was chosen and the 32 bits that processors add in.
        assert line["up"]["payload"] < other["up"]["payload"]
        assert line["down"] == other["down"]
    assert trained(narrow) == trained(wide)


def answers(row):
    """A row of the table without its bytes."""
    return {key: value for key, value in row.items() if "bytes" not in key}


def trained(out):
    """Every array of the artifact, as bytes; the statement beside them names the rings and differs."""
    from safetensors.numpy import load_file

    (path,) = out.glob("*.safetensors")
    return {name: array.tobytes() for name, array in load_file(path).items()}


def test_the_ledger_and_the_statement_have_the_ring_and_its_chance(both):
    narrow, wide, said = both
    ledger = ledger_of(narrow)
    rounds = len({event.round for event in ledger.events})
    for event, other in zip(ledger.events, ledger_of(wide).events, strict=True):
        assert event.parameters == other.parameters
        assert WRAP / rounds <= mechanism_of(event).delta < WRAP / rounds * (1 + 1e-6)
        assert "summed modulo 2^" in event.released
    statement = json.loads((narrow / "report.json").read_text("utf-8"))["privacy"]["statement"]
    assert (statement["delta"], statement["epsilon"] <= EPSILON) == (DELTA, True)
    assert any("1 + exp(epsilon) times" in each and "1e-09" in each for each in statement["assumptions"])
    (ring,) = [each for each in statement["public"] if each.startswith("the ring of each sum")]
    used = {event.released.rpartition("2^")[2] for event in ledger.events}
    assert {word for word in ring.replace(",", "").split() if word.isdigit()} >= used
    # What is printed is what is sent: numbers and the weight, packed to the bit.
    assert "bits a value in" in " ".join(said.out.split())


def test_bits_a_value_are_those_of_the_frames(both):
    narrow, _, _ = both
    bits = {event.round: int(event.released.rpartition("2^")[2]) for event in ledger_of(narrow).events}
    view = json.loads((narrow / "view" / "view.json").read_text("utf-8"))
    for line, facts in zip(found(narrow)["rounds"], view["rounds"], strict=True):
        slots = 1 + sum(math.prod(shape) for shape in facts["layout"].values())
        per_client = -(-slots * bits[line["round"]] // 8)
        assert line["up"]["payload"] == per_client * len(facts["roster"])


def test_the_program_computes_the_same_epsilon_from_the_ledger(both, tmp_path):
    """`ifedpriv account` on the ledger's mechanisms, the chance of wraps in their delta."""
    narrow, _, _ = both
    events = ledger_of(narrow).events
    plan = {
        "delta": DELTA,
        "unit": events[0].unit,
        "neighbouring": "add-or-remove",
        "releases": [{"mechanism": event.mechanism, **dict(event.parameters)} for event in events],
    }
    (tmp_path / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    done = called("account", "--plan", tmp_path / "plan.json", "--json")
    assert done.code == 0, done
    statement = json.loads((narrow / "report.json").read_text("utf-8"))["privacy"]["statement"]
    assert json.loads(done.out)["epsilon"] == pytest.approx(statement["epsilon"], rel=1e-9)
    charged = sum(dict(event.parameters)["delta"] for event in events)
    assert charged * (1 + 1e-12) >= WRAP and (1 + math.exp(EPSILON)) * charged < DELTA


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"grid.wrap": -1e-9}, "defense.privacy.grid.wrap is -1e-09: input should be greater than or equal to 0"),
        ({"grid.wrap": 1}, "defense.privacy.grid.wrap is 1: input should be less than 1"),
        ({"grid.wrap": "often"}, "defense.privacy.grid.wrap is 'often'"),
        ({"grid.wrap": DELTA}, "grid.wrap is 0.001, which at epsilon 4 costs 0.0556 of a delta of 0.001; use"),
        ({"grid.wrap": 1e-5, "epsilon": 8}, "costs 0.0298 of a delta of 0.001"),
        ({"grid.wrap": 1e-9, "epsilon": 1000}, "use 1e-"),
        ({"grid.wrap": 1e-9, "trust": "local"}, "grid.wrap counts with trust distributed alone; leave it out"),
        ({"grid.wrap": 1e-9, "trust": "central"}, "grid.wrap counts with trust distributed alone; leave it out"),
    ],
)  # fmt: skip
def test_a_chance_that_does_not_fit_is_one_sentence_before_anything(world, tmp_path, changes, expected):
    sets = [part for name, value in changes.items() for part in ("--set", f"defense.privacy.{name}={value}")]
    done = called(*asked(world, 0.0, *CLIENTS), *sets, "--out", tmp_path / "run")
    assert expected in done.refusal().replace("\nifedpriv: hint: ", "; ")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["bfv", "ckks"])
def test_ciphertexts_have_no_ring_to_choose(world, tmp_path, kind):
    done = called(*asked(world, WRAP, {"kind": kind}, {}, {}), "--out", tmp_path / "run")
    assert "ciphertexts are as long for any ring" in done.refusal()
    assert not (tmp_path / "run").exists()


def test_the_most_that_fits_is_told_truly(world, tmp_path):
    """The sentence's own number is accepted, at 10% of delta."""
    arguments = asked(world, 0.0, *CLIENTS)
    done = called(*arguments, "--set", "defense.privacy.grid.wrap=1e-3", "--out", tmp_path / "run")
    told = float(done.refusal().partition("use ")[2].split()[0])
    assert told * (1 + math.exp(EPSILON)) == pytest.approx(DELTA / 10, rel=0.3)
    _, config, *sets = arguments
    accepted = load_config(config, [*sets[1::2], f"defense.privacy.grid.wrap={told}"])
    assert accepted.defense.privacy.grid.wrap == told


def test_a_run_is_not_gone_on_with_in_another_ring(both):
    """Not even where somebody has edited the folder's configuration."""
    narrow, _, _ = both
    path = narrow / "config.yaml"
    before = path.read_text("utf-8")
    privacy = load_config(path).defense.privacy
    # A change that leaves the width as it is, one that has no such ring at all, and one of the width alone.
    changed = {14: "grid.wrap=1e-6", 16: "grid.wrap=0", 20: "bits=17"}[privacy.bits]
    path.write_text(load_config(path, [f"defense.privacy.{changed}"]).to_yaml(), encoding="utf-8")
    refused = called("run", "--resume", narrow).refusal()
    assert "in other rings" in refused
    path.write_text(before, encoding="utf-8")
    assert called("run", "--resume", narrow).code == 0
