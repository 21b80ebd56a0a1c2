"""A whole run in which one client of twelve cheats: groups keep the result, one sum over all loses it."""

import json

import numpy as np
import pytest
from program import called
from tiny import tiny_config, write_config

from attacks._server.cheats import MagnifyingClient, MagnifyingRatchetClient
from defenses.defense import Defense
from defenses.secagg.masked.client import MaskedClient
from defenses.upload import UploadKind
from defenses.view import ServerView

CHEAT = 5


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    config = {
        **tiny_config(folder),
        "partition": {"kind": "iid", "clients": 12},
        "method": {
            "guard": False,
            "calibration": {"rounds": 6, "steps": 4, "batch_size": 8, "rate": 0.2},
        },
        "evaluation": {"local_icl": False, "local_injection": False, "every_round": False},
    }
    config["evaluation"]["validation_fraction"] = 0
    write_config(folder / "config.yaml", config)
    return folder


@pytest.fixture
def cheated(monkeypatch):
    """Client 5 sends a thousand times its upload, turned around, in every round."""
    honest = Defense.client

    def client(self, me, round_info, entropy):
        session = honest(self, me, round_info, entropy)
        if me == CHEAT:
            session.__class__ = {MaskedClient: MagnifyingClient}.get(type(session), MagnifyingRatchetClient)
        return session

    monkeypatch.setattr(Defense, "client", client)


def run(world, out, **defense):
    spec = json.dumps({"kind": "masked", "collusion": 0.1, **defense})
    done = called("run", world / "config.yaml", "--set", f"defense={spec}", "--out", out)
    assert done.code == 0, done
    report = json.loads((out / "report.json").read_text("utf-8"))
    rows = {row["name"]: row["figures"]["accuracy"]["value"] for row in report["rows"]}
    last = [each["loss"] for each in report["rounds"] if each["loss"] is not None][-1]
    return rows["zero-shot"], rows["global injection (IFed-ICL)"], last, report


def test_groups_keep_what_a_cheating_client_would_destroy(world, tmp_path, cheated):
    """The test's 20 answers: 13 right where nobody cheats, chance under one sum, 13 again under three groups."""
    zero, lost, loss_lost, _ = run(world, tmp_path / "one")
    _, kept, loss_kept, report = run(world, tmp_path / "three", groups=3)
    assert lost <= zero - 0.1 and kept >= zero + 0.05
    assert loss_kept < loss_lost - 1
    assert "3 sums of fewer clients each" in json.dumps(report)
    # The recording holds every sum that the server saw, and the cheat's group is plain to see in it.
    sums = [
        each.upload.arrays["vector"]
        for each in ServerView.open(tmp_path / "three" / "view").computed(UploadKind.VECTOR)
    ]
    assert len(sums) == 3
    sizes = sorted(float(np.abs(each).max()) for each in sums)
    assert sizes[2] > 3 * sizes[1]


def test_a_configuration_whose_groups_are_too_small_is_refused(world, tmp_path):
    done = called(
        "run",
        world / "config.yaml",
        "--set",
        "defense={kind: masked, collusion: 0.05, groups: 5}",
        "--out",
        tmp_path,
    )
    assert (
        "defense.groups is 5, which leaves 2 of 12 clients in a group, fewer than defense.min_clients 3"
        in done.refusal()
    )
    done = called(
        "run", world / "config.yaml", "--set", "defense={kind: masked, groups: 3}", "--out", tmp_path
    )
    assert "groups 3 times collusion 0.2 is 0.6" in done.refusal()
