"""Reading parts of vectors: what is left out is nothing to any attack, and the curve says what each part tells."""

import json
from dataclasses import replace

import numpy as np
import pytest
from attacked import attacked_run
from program import called
from tiny import LAYERS, WIDTH

from attacks import invert, labels, layers, membership
from attacks._base.attack import Scope
from attacks._base.sites import Sites, sites
from attacks._base.space import Space, read
from attacks._base.targets import Target, Targets, read_targets, read_told
from attacks._judging.score import Wishes, open_subject
from ifedpriv.errors import InputError
from ifedpriv.report.layers_plot import draw

POOL = ("--pool", "150")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return attacked_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def subject(run):
    return open_subject(run, Wishes(pool=150))


def told(subject, chosen):
    return replace(subject.knowledge, sites=chosen)


@pytest.mark.parametrize(
    ("given", "branch", "expected"),
    [
        ("0", "both", [[1, 1], [0, 0], [0, 0], [0, 0]]),
        ("0,2-3", "attention", [[1, 0], [0, 0], [1, 0], [1, 0]]),
        (None, "mlp", [[0, 1]] * 4),
        (None, "both", [[1, 1]] * 4),
    ],
)
def test_masks(given, branch, expected):
    chosen = sites(given, branch, 4)
    assert chosen.mask(4)[..., 0].astype(int).tolist() == expected
    assert chosen.all == (given is None and branch == "both")


def test_layers_that_there_are_not_are_refused(run):
    for given in ("", "x", "1-", "-1", "4", "3-9", "2-1"):
        with pytest.raises(InputError, match="--layers is"):
            sites(given, "both", 4)
    said = called("attack", "labels", run, "--layers", "7").refusal()
    assert f"--layers is '7', and the model has {LAYERS} layers" in said


def test_numbers_that_are_not_read_have_no_direction_in_the_space(subject):
    singles = read_targets(subject.view, subject.backbone)[0].targets
    chosen = told(subject, Sites((1,), "mlp"))
    public = read(subject.backbone, chosen, chosen.public, "")
    space = Space.of(public, singles)
    axes = space.axes.reshape(LAYERS, 2, WIDTH, -1)
    assert np.any(axes[1, 1])
    assert not np.any(axes[0])
    assert not np.any(axes[1, 0])
    whole = Space.of(read(subject.backbone, subject.knowledge, subject.knowledge.public, ""), singles)
    assert whole.axes.shape[1] > space.axes.shape[1]


@pytest.mark.parametrize("module", [labels, invert, membership])
def test_a_guess_depends_on_nothing_that_is_not_read(module, subject, monkeypatch):
    """The attacks' answers are the same when all numbers of the other layer are replaced by noise."""
    chosen = told(subject, Sites((1,)))
    found = [
        [g.answers for g in module.guess(subject.view, subject.backbone, chosen) if g.method != "cosine"]
    ]
    rng = np.random.default_rng(5)

    def spoilt(view, backbone, declared):
        return tuple(
            Targets(each.scope, tuple(_spoilt(target, rng) for target in each.targets), each.refused)
            for each in read_told(view, backbone, declared)
        )

    monkeypatch.setattr(module, "read_told", spoilt)
    found.append(
        [g.answers for g in module.guess(subject.view, subject.backbone, chosen) if g.method != "cosine"]
    )
    ranks = [[_order(answer.content) for answers in each for answer in answers] for each in found]
    assert ranks[0] == ranks[1]
    assert any(ranks[0])


def _spoilt(target: Target, rng):
    vector = target.vector.copy()
    vector[0] = rng.standard_normal(vector[0].shape)
    return replace(target, vector=vector)


def _order(content):
    """What is said of each candidate or token, without the last digits."""
    if hasattr(content, "values"):
        return np.argsort(np.round(content.values, 5), kind="stable")[-5:].tolist()
    if hasattr(content, "shares"):
        return np.round(content.shares, 6).tolist()
    return getattr(content, "ranked", None) or sorted(content.claimed)


def test_unmixing_needs_the_first_attention_and_says_so(subject):
    made = invert.guess(subject.view, subject.backbone, told(subject, Sites(None, "mlp")))
    by_name = {(g.method, g.scope): g for g in made}
    unmix = by_name["unmix", Scope.UPLOADS]
    assert (unmix.answers, unmix.refused) == ((), "the first layer's attention is not among what is read")
    assert by_name["probe", Scope.UPLOADS].answers


def test_the_command_line_reads_a_part_and_says_which(run):
    said = called("attack", "labels", run, "--layers", "1", "--branch", "mlp", "--json")
    assert said.code == 0, said
    assert json.loads(said.out)["knowledge"]["read"] == "mlp of layers 1"
    assert "read: mlp of layers 1" in called("attack", "labels", run, "--layers", "1", "--branch", "mlp").out


def test_a_curve_has_a_point_for_every_part_and_its_control(run, tmp_path):
    out, figures = tmp_path / "curve.json", [tmp_path / "deep" / f"curve.{kind}" for kind in ("svg", "png")]
    said = called(
        "attack", "layers", run, *POOL, "--measure", "labels", "--measure", "membership",
        "--out", out, *(word for path in figures for word in ("--figure", path)),
    )  # fmt: skip
    assert said.code == 0, said
    document = json.loads(out.read_text())
    assert document["metrics"] == {"labels": "total variation", "membership": "AUC"}
    parts = {(p["group"], p["at"], p["branches"]) for p in document["parts"]}
    assert parts == {
        ("all", None, "both"),
        ("branch", None, "attention"),
        ("branch", None, "mlp"),
        *(("single", n, branch) for n in range(LAYERS) for branch in ("attention", "mlp", "both")),
        *(("prefix", n, "both") for n in range(LAYERS - 1)),
    }
    whole = next(p for p in document["parts"] if p["group"] == "all")["measured"]
    assert whole["labels"]["value"] < whole["labels"]["control"]
    assert whole["membership"]["value"] > 0.8
    for part in document["parts"]:
        assert all(
            one["value"] is not None and one["control"] is not None for one in part["measured"].values()
        )
    assert "layer 1, mlp" in said.out
    assert "layers 0 to 0" in said.out
    assert figures[0].read_bytes().startswith(b"<?xml")
    assert figures[1].read_bytes().startswith(b"\x89PNG")
    assert draw(document, "svg") == figures[0].read_bytes()


def test_everything_in_the_curve_is_what_the_attack_itself_finds(subject):
    """With all of the vector, the curve's label mix is that of `labels`, digit for digit."""
    singles = read_targets(subject.view, subject.backbone)[0]
    (whole, *_) = layers.parts_of(subject.backbone.n_layers)
    (made,) = layers.guesses(subject.backbone, subject.knowledge, singles, whole, ["labels"])
    assert made.answers == labels.guess(subject.view, subject.backbone, subject.knowledge)[0].answers


def test_what_layers_refuses(run, tmp_path):
    assert "has no ending" in called("attack", "layers", run, "--figure", tmp_path / "curve.doc").refusal()
    assert "--vectors is 0" in called("attack", "layers", run, "--vectors", "0").refusal()
    assert "goes through all of them" in called("attack", "layers", run, "--layers", "0").refusal()
