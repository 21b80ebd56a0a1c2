"""Copies of recordings: as they were but for what is changed, and damaged frames left out."""

import numpy as np
from attacked import frames_view

from attacks._judging.changed_copy import changed_copy, is_of, read_frame, written_anew
from defenses.errors import FrameError
from defenses.upload import Upload, UploadKind
from defenses.view import Direction


def recorded(folder):
    rng = np.random.default_rng(0)
    uploads = [{"vector": rng.normal(size=(2, 2, 3)).astype(np.float32)} for _ in range(3)]
    return frames_view(folder, uploads)


def test_what_is_not_changed_is_the_same(tmp_path):
    view = recorded(tmp_path / "view")
    copy = changed_copy(view, tmp_path / "copy", lambda record: record.frame)
    assert list(copy.frames()) == list(view.frames())
    assert copy.facts == view.facts


def test_frames_are_replaced_and_left_out_in_their_places(tmp_path):
    view = recorded(tmp_path / "view")

    def change(record):
        old = read_frame(view, record)
        assert is_of(record, Direction.UP, UploadKind.VECTOR)
        if record.sender == 1:
            return None
        if record.sender == 0:
            raise FrameError("damaged", "send it again")
        upload = old.upload
        return written_anew(
            old, Upload({"vector": -upload.arrays["vector"]}, upload.weight, upload.round, upload.kind)
        )

    copy = changed_copy(view, tmp_path / "copy", change, rounds=())
    assert copy.facts.rounds == ()
    (kept,) = copy.uploads()
    last = list(view.uploads())[-1]
    assert kept.sender == last.sender == 2
    assert np.array_equal(kept.upload.arrays["vector"], -last.upload.arrays["vector"])
