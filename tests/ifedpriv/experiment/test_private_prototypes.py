"""The releases of a private clustered run: each layout has its own bound, and no upload can move a sum by more."""

import json

import numpy as np
import pytest
from tiny import tiny_config

from defenses.defense import Defense
from defenses.dp.by_layout import ByLayout
from defenses.dp.release import Bounded
from defenses.entropy import InsecureSeeded
from defenses.errors import UserError
from defenses.upload import Layout, Upload, UploadKind
from ifedpriv.config import parse_config
from ifedpriv.experiment.prepare import Setup, prepare


@pytest.fixture(scope="module")
def setup(tmp_path_factory) -> Setup:
    folder = tmp_path_factory.mktemp("world")
    texts = (f"a {word} day number {n}" for n in range(10) for word in ("fine", "dull"))
    (folder / "public.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    public = {"path": "public.jsonl", "texts": 20}
    config = {
        **tiny_config(folder),
        "data_root": str(folder),
        "method": {
            "kind": "prototype_icl",
            "clusters": {"number": 3, "min_members": 1, "rank": 4, "public": public},
            "calibration": {"rounds": 2, "steps": 1, "batch_size": 2},
        },
        "defense": {
            "kind": "none",
            "privacy": {"unit": "client", "epsilon": 20, "delta": 0.1, "public": public},
        },
    }
    return prepare(parse_config(config, "test"))


def asked(setup: Setup) -> dict[tuple[UploadKind, Layout], int]:
    found = [setup.method.asks(number) for number in range(setup.method.rounds)]
    return {each: found.count(each) for each in found}


def test_every_layout_has_a_release_of_its_own(setup):
    kinds = asked(setup)
    assert len([kind for kind, _ in kinds if kind is UploadKind.CLUSTERS]) == 3
    assert isinstance(setup.defense.releases[UploadKind.CLUSTERS], ByLayout)
    for kind, layout in kinds:
        release = setup.defense.release(kind, layout)
        assert isinstance(release, Bounded) and release.transform.size == layout.size
    with pytest.raises(UserError, match="nothing says how an upload of the arrays"):
        setup.defense.release(UploadKind.CLUSTERS, Layout.of({"other": (3,)}))
    plain = Defense.from_spec(setup.config.defense.model_copy(update={"privacy": None}))
    assert plain.release(UploadKind.CLUSTERS, Layout.of({"other": (3,)})).travels(Layout.of({"x": (1,)}))


@pytest.mark.parametrize("size", [0.0, 1e-3, 1.0, 1e3, 1e30])
def test_no_upload_moves_a_sum_by_more_than_is_accounted_for(setup, size):
    """Whatever a client would like to give, honest or not: what it gives is no longer than the sensitivity."""
    rng = np.random.default_rng(3)
    for kind, layout in asked(setup):
        release = setup.defense.release(kind, layout)
        terms = release.lattice(3)
        for hot in (False, True):
            flat = np.zeros(layout.size) if hot else rng.normal(size=layout.size)
            flat[int(rng.integers(layout.size))] += 1
            upload = Upload(layout.unflatten((flat * size).astype(np.float32)), 1, 0, kind)
            given = release.give(upload, None, 3, InsecureSeeded(0))
            assert np.linalg.norm(given.layout.flatten(given.arrays).astype(np.float64)) <= terms.sensitivity


def test_honest_clusters_are_hardly_clipped(setup):
    """Lengths that the method promises are within the clip, so that clustering alone is not biased by it."""
    for kind, layout in asked(setup):
        if kind in (UploadKind.CLUSTERS, UploadKind.COUNTS):
            release = setup.defense.release(kind, layout)
            members = len(layout.names)
            # Each part of a message has length 1 at most.
            assert release.clip >= min(np.sqrt(members), np.sqrt(3)) - 1e-9
