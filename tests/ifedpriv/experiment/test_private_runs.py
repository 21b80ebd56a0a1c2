"""Whole private runs of the program: a bound that holds for every frame, the same numbers twice, and refusals."""

import json
import shutil

import numpy as np
import pytest
from explained import PAYLOAD, seen, unexplained
from killed_run import kill_run
from program import called
from runs import found
from tiny import examples, tiny_config, write_config

from defenses.accounting.spent import Bound, ledger_bound
from defenses.dp.release import ARRAY
from defenses.frame import SERVER, Precision, encode
from defenses.ledger import Ledger
from defenses.units import Neighbouring, Unit
from defenses.upload import Upload, UploadKind
from defenses.view import Direction, ServerView, ServerViewWriter
from ifedpriv.experiment.prepare import prepare
from ifedpriv.experiment.rundir import RunDirectory

DELTA = 1e-3
PROMPTS = {
    "kind": "ficpd",
    "length": 3,
    "clusters": 2,
    "min_members": 1,
    "warmup": 1,
    "splits": 1,
    "rounds": 1,
    "tuning": {"steps": 2, "batch_size": 4},
    "meta": {"when": "never"},
}
WAYS = {
    "central": {"kind": "none", "privacy": {"trust": "central"}},
    "local steps": {"kind": "none", "privacy": {"trust": "local", "coefficients": {"steps": "local"}}},
    "distributed": {"kind": "masked", "privacy": {"trust": "distributed"}},
    "encrypted": {"kind": "bfv", "privacy": {"trust": "distributed", "bits": 22}},
    "clients": {"kind": "none", "privacy": {"trust": "central", "unit": "client"}},
    "clients, distributed": {"kind": "masked", "privacy": {"trust": "distributed", "unit": "client"}},
    "clients, distributed, on another grid": {
        "kind": "masked",
        "privacy": {
            "trust": "distributed",
            "unit": "client",
            "bits": 14,
            "grid": {"noise": "skellam", "rotate": True, "rounding": "conditional"},
        },
    },
    "adapters of clients": {
        "kind": "none",
        "privacy": {"trust": "local", "unit": "client", "coefficients": {"clip": 0.5}},
        "method": {"kind": "fed_lora", "rounds": 2, "rank": 2, "aggregation": "uniform"},
    },
    "prompts of clients": {
        "kind": "none",
        "privacy": {"trust": "local", "unit": "client"},
        "method": PROMPTS,
    },
    "prompts of clients, distributed": {
        "kind": "masked",
        "privacy": {"trust": "distributed", "unit": "client"},
        "method": PROMPTS,
    },
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    config = {**tiny_config(folder), "partition": {"kind": "iid", "clients": 5}, "seed": 3}
    config["data"]["path"] = str(folder / "data")
    write_config(folder / "config.yaml", config)
    lines = [json.dumps({"text": example.text}) for example in examples(40, 9)]
    (folder / "public.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def sets(world, defense, **more):
    """The command line's changes for a defense."""
    privacy = {
        "epsilon": 4.0,
        "delta": DELTA,
        "max_examples": 16,
        "public": {"path": str(world / "public.jsonl"), "texts": 32},
        **defense["privacy"],
    }
    unit = privacy.get("unit", "example")
    method = defense.get("method")
    changes = {
        "defense": {"kind": defense["kind"], "privacy": privacy},
        **(
            {"method": method}
            if method
            else {"method.aggregation": "count" if unit == "example" else "uniform"}
        ),
        **more,
    }
    return [part for name, value in changes.items() for part in ("--set", f"{name}={json.dumps(value)}")]


def run(world, out, defense, **more):
    done = called("run", world / "config.yaml", *sets(world, defense, **more), "--out", out)
    assert done.code == 0, done
    return done, json.loads((out / "report.json").read_text("utf-8"))


@pytest.fixture(scope="module", params=WAYS, ids=list(WAYS))
def finished(request, world, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "private"
    return (*run(world, out, WAYS[request.param]), out, WAYS[request.param])


def ledger_of(out):
    return Ledger.from_json(RunDirectory(out).load_checkpoint()[1]["ledger"])


def test_the_bound_is_what_the_accounting_makes_of_the_ledger(finished):
    done, report, out, defense = finished
    unit = Unit(defense["privacy"].get("unit", "example"))
    bound = ledger_bound(ledger_of(out), DELTA, unit, Neighbouring.ADD_OR_REMOVE)
    assert isinstance(bound, Bound)
    statement = report["privacy"]["statement"]
    assert statement["epsilon"] == pytest.approx(bound.epsilon)
    assert 3.5 < statement["epsilon"] <= 4.0
    assert (statement["delta"], statement["unit"]) == (DELTA, unit)
    assert statement["trust"] == defense["privacy"]["trust"]
    said = " ".join(done.out.split())
    assert "differentially private for one" in said
    assert "There is no privacy bound" not in said
    # Drawn from a seed, and said before anything else.
    assert statement["simulation"]


def asks_of(out):
    method = prepare(RunDirectory.open(out).config()).method
    return {number: method.asks(number) for number in range(method.rounds)}


@pytest.fixture(scope="module")
def asked(finished):
    return asks_of(finished[2])


def test_every_frame_is_explained_by_an_event_or_a_public_declaration(finished, asked):
    """Each frame, up, down or worked out, is of a release that charges its client, or follows from earlier ones."""
    out = finished[2]
    ledger = ledger_of(out)
    assert {event.round for event in ledger.events} == set(asked)
    assert unexplained([ServerView.open(out / "view")], ledger, asked) == []


def extra(view, asked):
    """Frames that no ledger pays for, by what is wrong with them, as arguments of `ServerViewWriter.append`."""
    frames = list(view.frames())
    carries = PAYLOAD[view.facts.defense.kind]
    payload = next(
        each for each in frames if each.direction is Direction.UP and seen(each.frame).what == carries
    )
    computed = [each for each in frames if each.direction is Direction.COMPUTED]
    kind, layout = asked[0]
    strange = next(each for each in UploadKind if each not in {kind for kind, _ in asked.values()})
    zeros = layout.unflatten(np.zeros(layout.size))

    def up(by, which, **changes):
        return {**of(payload), "frame": encode(Upload(zeros, 1, 0, which), by, Precision.FP32), **changes}

    found = {
        "a second upload": of(payload),
        "an upload of another kind": up(payload.sender, strange),
        "an upload of another layout": up(payload.sender, kind),
        "an upload of somebody who was not asked": up(99, kind, sender=99),
        "an upload in another round": {**of(payload), "round_number": 1},
        "a client's numbers, worked out": {
            **up(SERVER, kind),
            "frame": encode(Upload({"a": np.zeros(3)}, 1, 0, kind), SERVER, Precision.FP32),
            **to_itself(),
        },
        "another kind, worked out": {**up(SERVER, strange), **to_itself()},
        "a broadcast of what was not released": {
            **up(SERVER, UploadKind.SCORES),
            "sender": SERVER,
            "recipient": payload.sender,
            "direction": Direction.DOWN,
        },
        "a round that nobody knows": {
            **of(payload),
            "round_number": 77,
            "frame": encode(Upload(zeros, 1, 77, kind), payload.sender, Precision.FP32),
        },
        "bytes of no protocol": {**of(payload), "frame": b"what is this"},
    }
    if computed:
        found["a second sum"] = of(computed[0])
    return found


def of(record):
    fields = ("direction", "sender", "recipient", "frame")
    return {**{name: getattr(record, name) for name in fields}, "round_number": record.round}


def to_itself():
    return {"direction": Direction.COMPUTED, "sender": SERVER, "recipient": SERVER}


def test_a_frame_more_is_found_out(finished, asked, tmp_path):
    out = finished[2]
    view = ServerView.open(out / "view")
    for number, (what, frame) in enumerate(extra(view, asked).items()):
        planted = tmp_path / str(number)
        shutil.copytree(out / "view", planted)
        with ServerViewWriter.resume(planted) as writer:
            writer.append(**frame)
        assert unexplained([ServerView.open(planted)], ledger_of(out), asked), what


def test_an_event_less_is_found_out(finished, asked):
    out = finished[2]
    view = ServerView.open(out / "view")
    for left_out in ledger_of(out).events:
        shorter = Ledger()
        for event in ledger_of(out).events:
            if event != left_out:
                shorter.add(event)
        assert unexplained([view], shorter, asked)


def test_uploads_are_whole_numbers_of_weight_one(finished):
    _, _, out, defense = finished
    if defense["kind"] != "none":
        pytest.skip("a recording of sums has no single upload")
    for frame in ServerView.open(out / "view").uploads():
        assert frame.upload.weight == 1
        if set(frame.upload.arrays) == {ARRAY}:
            assert (frame.upload.arrays[ARRAY] % 1 == 0).all()


def test_the_same_seed_gives_the_same_run_and_another_one_other_noise(world, tmp_path):
    way = WAYS["central"]
    run(world, tmp_path / "one", way)
    run(world, tmp_path / "two", way)
    run(world, tmp_path / "other", way, seed=4)
    one, two, other = (found(tmp_path / name) for name in ("one", "two", "other"))
    assert one == two
    assert one["artifacts"] != other["artifacts"]


@pytest.mark.parametrize("way", ["central", "local steps"])
def test_a_killed_private_run_ends_as_if_it_had_not_been(world, tmp_path, way):
    """With a seed; with the system's source the noise would be another, and the round released once."""
    run(world, tmp_path / "whole", WAYS[way])
    arguments = ("run", world / "config.yaml", *sets(world, WAYS[way]), "--out", tmp_path / "run")
    kill_run(9, *arguments)
    done = called("run", "--resume", tmp_path / "run")
    assert done.code == 0, done
    assert found(tmp_path / "run") == found(tmp_path / "whole")


REFUSED = {
    "no hidden sum": (
        {"kind": "none", "privacy": {"trust": "distributed"}},
        {},
        "defense.privacy.trust is 'distributed' and defense.kind is 'none'",
    ),
    "epsilon of zero": ({"kind": "none", "privacy": {"epsilon": 0}}, {}, "defense.privacy.epsilon is 0"),
    "delta of one": ({"kind": "none", "privacy": {"delta": 1}}, {}, "defense.privacy.delta is 1"),
    "large delta": ({"kind": "none", "privacy": {"delta": 0.3}}, {}, "delta is 0.3, above 1/"),
    "uniform": (
        {"kind": "none", "privacy": {}},
        {"method.aggregation": "uniform"},
        "the bound holds for sums over examples, so use count",
    ),
    "clip of zero": (
        {"kind": "none", "privacy": {"vector": {"clip": 0}}},
        {},
        "defense.privacy.vector.clip is 0",
    ),
    "dropout without shares": (
        {"kind": "none", "privacy": {"dropout": 0.2}},
        {},
        "dropout counts with trust distributed alone",
    ),
    "no public texts": (
        {"kind": "none", "privacy": {"public": {}}},
        {},
        "defense.privacy.public.path is not set",
    ),
    "too few public texts": (
        {"kind": "none", "privacy": {"public": {"path": "public.jsonl", "texts": 50}}},
        {"data_root": None},
        "has 40",
    ),
    "rank": ({"kind": "none", "privacy": {"vector": {"rank": 60}}}, {}, "defense.privacy.vector.rank is 60"),
    "bits": ({"kind": "none", "privacy": {"bits": 8}}, {}, "privacy.bits is 8, which leaves"),
    "misspelt": ({"kind": "none", "privacy": {"epsilom": 1}}, {}, "epsilom is not a field"),
    "adapters": (
        {"kind": "none", "privacy": {}},
        {"method": {"kind": "fed_lora"}},
        "does not bound what one example does",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_private_is_refused_in_one_sentence(world, tmp_path, case):
    defense, more, said = REFUSED[case]
    if more.get("data_root", 0) is None:
        more = {"data_root": str(world)}
    done = called("run", world / "config.yaml", *sets(world, defense, **more), "--out", tmp_path / "no")
    assert said in done.refusal()
    assert not (tmp_path / "no").exists()
