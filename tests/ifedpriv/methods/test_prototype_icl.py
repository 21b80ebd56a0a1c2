"""Clustered IFed-ICL: one cluster is IFed-ICL, and each cluster is IFed-ICL among its own."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rounds import EXACT, STEPS, Spying, clients, federation, play
from tiny import examples, task, tiny_backbone

from defenses.defense import Defense
from defenses.entropy import InsecureSeeded
from defenses.ledger import Ledger
from defenses.specs import BfvSpec, CkksSpec, DefenseSpec, MaskedSpec
from ifedpriv.config import parse_config
from ifedpriv.data.task import Example
from ifedpriv.embedded import MODEL_PATH
from ifedpriv.experiment.comparisons import members
from ifedpriv.experiment.play import play as play_all
from ifedpriv.experiment.prepare import prepare
from ifedpriv.federation.cohort import Cohort, CohortSpec
from ifedpriv.federation.federation import Federation
from ifedpriv.icl.prompts import Position
from ifedpriv.icl.sketch import public_sketch
from ifedpriv.measure.agreement import adjusted_rand
from ifedpriv.methods.method import Client
from ifedpriv.methods.prototype_icl import COEFFICIENTS, VECTORS, PrototypeIcl
from ifedpriv.methods.specs import ClustersSpec, PrototypeIclSpec

FINE = {"wire": EXACT.wire}


def clustered(
    who: Sequence[Client], defense: DefenseSpec = EXACT, groups: tuple[str, ...] = (), **clusters: Any
) -> Federation:
    spec = PrototypeIclSpec(
        calibration=STEPS, guard=False, clusters=ClustersSpec(**{"min_members": 1, **clusters})
    )
    sketch = public_sketch(tiny_backbone(), task(), examples(24, 5), Position.LABEL, 4)
    method = PrototypeIcl(spec, tiny_backbone(), task(), sketch, groups=groups)
    return Federation(
        method,
        Defense.from_spec(defense),
        Spying(who, method.takes_part),
        Cohort(CohortSpec(), 0),
        entropy=InsecureSeeded(0, "test"),
        ledger=Ledger(simulation=True),
        seed=0,
    )


def test_one_cluster_is_the_papers_method() -> None:
    who = clients(6, 8, 5)
    plain, _ = play(federation(who))
    found, records = play(clustered(who, number=1))
    assert [str(record.kind) for record in records] == ["vector", "coefficients", "coefficients"]
    np.testing.assert_allclose(found.arrays[VECTORS][0], plain.arrays["vector"], atol=2e-6)
    np.testing.assert_allclose(found.arrays[COEFFICIENTS][0], plain.arrays["coefficients"], atol=1e-4)


def opposed() -> tuple[Client, ...]:
    """Three clients whose labels are right, and three whose labels are turned."""
    held = [examples(10, 10 + number) for number in range(6)]
    turned = [tuple(Example(e.text, 1 - e.label) for e in who) for who in held[3:]]
    return tuple(
        Client(number, who, group="right" if number < 3 else "turned")
        for number, who in enumerate([*held[:3], *turned])
    )


def test_an_oracles_clusters_are_federations_of_their_own() -> None:
    """A cluster's vector and coefficients are those of IFed-ICL among its members alone, batches included."""
    who = opposed()
    found, _ = play(clustered(who, groups=("right", "turned"), number=2, found_by="oracle"))
    for slot, group in enumerate(("right", "turned")):
        own = [replace(c, number=n) for n, c in enumerate(c for c in who if c.group == group)]
        alone, _ = play(federation(own))
        np.testing.assert_allclose(found.arrays[VECTORS][slot], alone.arrays["vector"], atol=2e-6)
        if group == "right":
            # Batches are drawn by a client's number, which for these three is the same in both.
            np.testing.assert_allclose(
                found.arrays[COEFFICIENTS][slot], alone.arrays["coefficients"], atol=1e-4
            )


@pytest.mark.parametrize(
    "defense", [MaskedSpec(**FINE), BfvSpec(**FINE), CkksSpec(**FINE)], ids=lambda d: d.kind
)
def test_a_defense_costs_no_more_than_its_rounding(defense: DefenseSpec) -> None:
    """The same clusters, and vectors and coefficients that differ by steps of the grid alone."""
    who = opposed()
    clear, clear_records = play(clustered(who, number=2))
    hidden, records = play(clustered(who, defense, number=2))
    assert [record.took_part for record in records] == [record.took_part for record in clear_records]
    np.testing.assert_array_equal(hidden.arrays["alive"], clear.arrays["alive"])
    np.testing.assert_allclose(hidden.arrays[VECTORS], clear.arrays[VECTORS], atol=0.02)
    np.testing.assert_allclose(hidden.arrays[COEFFICIENTS], clear.arrays[COEFFICIENTS], atol=0.02)


def test_a_server_under_masks_has_no_block_of_one_client_before_counts_allow_it() -> None:
    """The sums of sketches and of vectors hold blocks of the agreed size, or nothing."""
    who = opposed()
    fed = clustered(who, MaskedSpec(**FINE), number=4, min_members=3)
    state = fed.method.initial_state()
    seen = []

    original = fed.method.server_step

    def watched(state: Any, aggregate: Any) -> Any:
        if "members" in aggregate.means and aggregate.kind != "counts":
            seen.append(np.rint(aggregate.means["members"] * aggregate.total_weight))
        return original(state, aggregate)

    fed.method.server_step = watched  # type: ignore[method-assign]
    for _ in range(fed.method.rounds):
        state, _ = fed.play_round(state)
    assert seen and all(count == 0 or count >= 3 for counts in seen for count in counts)


@pytest.mark.parametrize(("groups", "task_name"), [(2, "remedy"), (4, "mood")])
def test_opposed_groups_are_found_on_the_embedded_model(groups: int, task_name: str) -> None:
    """Clustering alone, on real activations: the clusters are the groups."""
    config = parse_config(
        {
            "threads": 1,
            "data": {"source": "embedded", "name": task_name, "test": 20},
            "partition": {
                "kind": "contradictory",
                "groups": groups,
                "clients": 4 * groups,
                "examples_per_client": 32,
                "min_examples": 4,
            },
            "method": {"kind": "prototype_icl", "guard": False, "calibration": {"rounds": 0}},
            "evaluation": {"validation_fraction": 0.0},
        },
        "test",
    )
    setup = prepare(config)
    assert MODEL_PATH.exists() and isinstance(setup.method, PrototypeIcl)
    state, _ = play_all(setup)
    bank = setup.method.artifact(state)
    assert len(bank) == groups
    found = [int(setup.method.shares(bank, client).argmax()) for client in members(setup)]
    assert adjusted_rand(found, [client.group for client in members(setup)]) == 1
