"""A mean that was pulled toward the centre is read as it was before: pulling protects nobody."""

import numpy as np
import pytest
from attacked import private_run

from attacks._base.attack import Scope
from attacks._whole_run.request import Request
from attacks._whole_run.subject import open_readings
from defenses.upload import UploadKind
from defenses.view import ServerView

HOW = {"trust": "central", "epsilon": 0.3}


def released(run):
    """The mean of a run as an audit reads it."""
    readings = open_readings(Request(run, pool=150), run.parent / "own", lambda *_: None)
    reading = next(each for each in readings if Scope.AGGREGATE in each.scopes)
    (frame,) = reading.subject.view.computed(UploadKind.VECTOR)
    return frame.upload.arrays["vector"].astype(np.float64)


def recorded(run):
    """The mean as it stands in a run's recording."""
    (frame,) = ServerView.open(run / "view").computed(UploadKind.VECTOR)
    return frame.upload.arrays["vector"].astype(np.float64)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.mark.parametrize("rank", [None, 24])
def test_a_pulled_mean_is_read_as_the_one_that_was_not_pulled(world, rank):
    """Both runs draw the same noise. Every block of the pulled one has to keep something, or it would be lost."""
    vector = {} if rank is None else {"rank": rank}
    pulled, plain = (
        private_run(world / f"{rank}-{shrink}", vector={**vector, "shrink": shrink}, **HOW)
        for shrink in (True, False)
    )
    before, sent, found = released(plain), recorded(pulled), released(pulled)
    size = np.abs(before).max()
    assert np.abs(sent - before).max() > 0.02 * size
    assert np.abs(found - before).max() < 1e-5 * size
