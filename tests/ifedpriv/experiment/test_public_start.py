"""What a run makes of its coefficients' file: refusals, going on after a crash, and rounds that start from it."""

import dataclasses
import json

import numpy as np
import pytest
from program import called
from tiny import generation_task, task, tiny_backbone
from tiny_public import all_members, finished, member, public, public_world, ready, sets

from defenses.upload import UploadKind
from defenses.view import ServerView
from ifedpriv.data.task import TaskKind
from ifedpriv.experiment import baselines
from ifedpriv.experiment.play import agreed, play
from ifedpriv.experiment.run import execute
from ifedpriv.experiment.rundir import RunDirectory
from ifedpriv.icl.public_coefficients import PublicCoefficients
from ifedpriv.methods.ifed_icl import IfedIcl
from ifedpriv.methods.method import SERVERS, Client
from ifedpriv.methods.public_start import PublicStart
from ifedpriv.methods.specs import IfedIclSpec

COARSE = {"defense.wire": {"vector": "int4", "coefficients": "fp16", "scores": "fp16"}}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    public_world(folder)
    return folder


def file_of(world, name="one"):
    return PublicCoefficients.load(world / f"{name}.safetensors")


# ---- rounds that start from public coefficients


@pytest.fixture(scope="module")
def started(world):
    setup = ready(world, "public+rounds", {"trust": "central"}, **COARSE)
    return (*finished(setup, world / "started"), world / "started")


def test_it_has_the_rounds_and_the_guard_of_a_federated_run(started, world):
    outcome, report, _ = started
    federated = ready(world, "federated", {"trust": "central"})
    assert outcome.setup.method.rounds == federated.method.rounds == 5
    kinds = [line["kind"] for line in outcome.rounds]
    assert kinds == ["vector", *["coefficients"] * 3, "scores"]
    assert report.guard.accepted in (True, False)
    assert "held-out examples, with the noise" in report.guard.text
    assert "public tasks" not in report.guard.text
    assert any(outcome.setup.clients[number].validation for number in range(5))
    assert any("held out" in each.what for each in outcome.ledger.declarations)
    assert report.privacy.statement["epsilon"] <= 4.0


def test_it_starts_from_the_chosen_set(started, world):
    outcome, _, folder = started
    choice = outcome.setup.method.choice(outcome.state)
    first = next(iter(ServerView.open(folder / "view").broadcasts(UploadKind.COEFFICIENTS))).upload.arrays
    sent = np.stack([first["lambda"], first["beta"]], axis=-1)
    np.testing.assert_allclose(sent, choice.member.coefficients.values, atol=1e-3)
    assert choice.member.kind in ("first", "second")
    assert not np.allclose(
        outcome.injection.coefficients.values, choice.member.coefficients.values, atol=1e-3
    )
    assert outcome.injection.facts["coefficients"] == choice.sentence()


def test_the_choice_is_made_once_and_kept(world, monkeypatch):
    """A coarse wire rounds the vector for all later rounds; what is said at the end is what was done at the start."""
    real, calls = PublicStart.choice, []
    monkeypatch.setattr(PublicStart, "choice", lambda self, v, noise: calls.append(v) or real(self, v, noise))
    setup = ready(world, "public+rounds", {"trust": "central"}, **COARSE)
    state, _ = play(setup)
    told = setup.method.choice(state)
    assert all(np.array_equal(each, calls[0]) for each in calls)
    assert not np.array_equal(calls[0], state.arrays["vector"])
    made = real(setup.method.public, calls[0], float(state.arrays[f"{SERVERS}noise"][0]))
    assert told.member is made.member
    assert told.sentence() == made.sentence()


def test_what_the_server_keeps_reaches_no_broadcast(started):
    outcome, _, folder = started
    kept = {name for name in outcome.state.arrays if name.startswith(SERVERS)}
    assert {f"{SERVERS}noise", f"{SERVERS}released"} <= kept
    sent = [each.upload for each in ServerView.open(folder / "view").broadcasts()]
    assert {name for upload in sent for name in upload.arrays} == {"vector", "lambda", "beta"}
    state = outcome.state
    for upload in outcome.setup.method.broadcasts(state):
        assert not kept & set(upload.arrays)


def test_a_client_alone_starts_from_them_and_goes_on(started, world):
    outcome, _, _ = started
    setup, start = outcome.setup, outcome.setup.method.public
    alone = baselines.train_alone(setup, setup.clients[0])
    begun = start.choice(alone.vector.values, 0.0).member.coefficients.values
    moved = np.abs(alone.coefficients.values - begun)
    # Three rounds of two steps of Adam move a number by about its rate each.
    assert 0.01 < moved.max() < 0.7


# ---- federated, as before


def test_a_federated_run_knows_of_no_file(world):
    setup = ready(world, "federated")
    assert setup.method.public is None
    assert setup.declarations == ()
    state = setup.method.initial_state()
    assert set(state.arrays) == {"coefficients"}
    assert setup.method.choice(state) is None


def test_public_coefficients_go_with_the_specification_and_only_with_it():
    start = PublicStart(public(), tiny_backbone(), task(), ())
    for spec, given in ((IfedIclSpec(), start), (IfedIclSpec(coefficients="public"), None)):
        with pytest.raises(ValueError, match="given where they are asked for"):
            IfedIcl(spec, tiny_backbone(), task(), public=given)
    assert "A, B" not in repr(start)
    assert repr(start) == "PublicStart(PublicCoefficients(4 members, 2 tasks), 0 texts)"


def test_the_files_digest_is_among_what_all_ends_agree_on(world, tmp_path):
    """Another file under the same name makes another context, so that masked clients with other files find no sum."""
    one = ready(world, "public")
    copy = tmp_path / "copy.safetensors"
    made = file_of(world)
    made.save(copy)
    first = agreed(ready(world, "public", **{"method.coefficients_file": str(copy)}))
    dataclasses.replace(made, seed=made.seed + 1).save(copy)
    assert agreed(ready(world, "public", **{"method.coefficients_file": str(copy)})) != first
    assert agreed(one) != agreed(ready(world, "federated"))


# ---- going on after a crash


class Crash(Exception):
    """Stands for one."""


@pytest.mark.parametrize("moment", ["append_round", "save_checkpoint", "save_part"])
@pytest.mark.parametrize("privacy", [None, {"trust": "central"}], ids=["open", "private"])
def test_a_run_that_was_cut_off_ends_as_if_it_had_not_been(world, tmp_path, privacy, moment):
    """Before the checkpoint of its only round, after it, and among the comparisons."""
    whole, _ = finished(ready(world, "public", privacy), tmp_path / "whole")
    run = RunDirectory.create(tmp_path / "run", whole.setup.config)
    real = getattr(RunDirectory, moment)

    def crash(self, *arguments):
        real(self, *arguments)
        raise Crash

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunDirectory, moment, crash)
        with pytest.raises(Crash):
            execute(ready(world, "public", privacy), run)
    again = execute(ready(world, "public", privacy), run)
    assert (tmp_path / "run" / "injection.safetensors").read_bytes() == (
        tmp_path / "whole" / "injection.safetensors"
    ).read_bytes()
    assert again.ledger.to_json() == whole.ledger.to_json()
    assert {name: row.lists for name, row in again.rows.items()} == {
        name: row.lists for name, row in whole.rows.items()
    }
    for name, array in whole.state.arrays.items():
        assert np.array_equal(again.state.arrays[name], array)


def test_a_run_does_not_go_on_with_another_file(world, tmp_path):
    file = tmp_path / "file.safetensors"
    file_of(world).save(file)
    other = {"method.coefficients_file": str(file)}
    finished(ready(world, "public", **other), tmp_path / "run")
    dataclasses.replace(file_of(world), seed=99).save(file)
    said = called("run", "--resume", tmp_path / "run").refusal()
    assert "is not the one that this run began with" in said


# ---- refusals


REFUSED = {
    "a file with federated": (
        {"method.coefficients": "federated"},
        "coefficients_file is set and coefficients is 'federated'",
    ),
    "branches": ({"method.branches": "attention"}, "leave branches, layers and form as they are"),
    "layers": ({"method.layers": "late"}, "leave branches, layers and form as they are"),
    "form": ({"method.form": "add"}, "leave branches, layers and form as they are"),
    "no file": ({"method.coefficients_file": None}, "method.coefficients_file names no file for this model"),
    "no such file": ({"method.coefficients_file": "nothing.safetensors"}, "does not exist"),
    "misspelt": ({"method.coefficients": "publik"}, "method.coefficients is 'publik'"),
    "position": ({"method.position": "last"}, "made with position 'label', and method.position is 'last'"),
    "template": ({"data.template": "Say {text}:"}, "a demonstration reads 'Say {text}:"),
    "several kinds, no texts": (
        {"method.coefficients_file": "two"},
        "controls.public.path is not set, and only the shipped tasks come with public texts",
    ),
    "another model": (
        {"method.coefficients_file": "stranger"},
        "were made for the model with fingerprint fffff",
    ),
    "generation only": ({"method.coefficients_file": "writes"}, "is a classification task"),
    "width": (
        {"method.coefficients_file": "narrow"},
        "2 layers of width 3, and this model has 2 of width 16",
    ),
    "no file of ours": ({"method.coefficients_file": "model/model"}, "has format 'pt'"),
}


@pytest.mark.parametrize("coefficients", ["public", "public+rounds"])
@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_in_one_sentence(world, tmp_path, case, coefficients):
    public(backbone="f" * 64).save(world / "stranger.safetensors")
    public(members=(member("copy", 0.0, 1, TaskKind.GENERATION),)).save(world / "writes.safetensors")
    public(members=all_members(("only",)), centre=np.zeros((2, 2, 3))).save(world / "narrow.safetensors")
    changes, said = REFUSED[case]
    name = changes.get("method.coefficients_file")
    if name is not None and name != "nothing.safetensors":
        changes = {"method.coefficients_file": str(world / f"{name}.safetensors")}
    done = called(
        "run", world / "config.yaml", *sets(world, coefficients, **changes), "--out", tmp_path / "no"
    )
    assert said in done.refusal()
    assert not (tmp_path / "no").exists()


def test_a_relative_file_is_found_where_data_is(world, monkeypatch, tmp_path):
    monkeypatch.setenv("IFEDPRIV_DATA", str(world))
    monkeypatch.chdir(tmp_path)
    setup = ready(world, "public", **{"method.coefficients_file": "one.safetensors"})
    assert setup.method.public.public.digest == file_of(world).digest


# ---- the step by hand


def stepped(start, vector, noise=0.0):
    from defenses.session import Aggregate

    method = IfedIcl(IfedIclSpec(coefficients="public"), tiny_backbone(), task(), public=start)
    aggregate = Aggregate({"vector": vector}, 3.0, (0, 1, 2), UploadKind.VECTOR, 0, noise=noise)
    return method, method.server_step(method.initial_state(), aggregate)


def test_the_centre_is_taken_off_and_the_level_follows_the_noise():
    start = PublicStart(public(members=all_members(("only",))), tiny_backbone(), task(), ())
    vector = np.random.default_rng(0).normal(size=start.public.centre.shape).astype(np.float32)
    for noise, level, injected in ((0.0, 0.0, 0.8), (0.02, 0.0, 0.8), (0.04, 0.05, 0.7), (3.0, 0.05, 0.7)):
        method, state = stepped(start, vector, noise)
        assert np.array_equal(state.arrays["vector"], vector - start.public.centre)
        assert method.choice(state).member.noise == level
        assert method.verdict(state).injected == injected
        assert method.verdict(state).public_tasks == 3
        assert np.array_equal(state.arrays["coefficients"], method.choice(state).member.coefficients.values)
        assert (method.rounds, method.guard_round) == (1, None)
    assert method.choice(method.initial_state()) is None
    assert method.verdict(method.initial_state()) is None


def test_a_client_has_a_part_whether_or_not_it_holds_anything_out():
    start = PublicStart(public(), tiny_backbone(), task(), ())
    method = IfedIcl(IfedIclSpec(coefficients="public"), tiny_backbone(), task(), public=start)
    from tiny import examples

    assert method.takes_part(0, Client(0, examples(3)))
    assert not method.takes_part(0, Client(1, (), examples(3)))


def test_one_kind_of_generation_serves_a_generation_task():
    writes = public(members=(member("copy", 0.0, 1, TaskKind.GENERATION),), trials=())
    start = PublicStart(writes, tiny_backbone(), generation_task(), ())
    found = start.choice(start.centred(writes.centre), 0.0)
    assert found.member.kind == "copy"
    assert start.verdict(0.0) is None
    assert json.dumps(found.sentence())
