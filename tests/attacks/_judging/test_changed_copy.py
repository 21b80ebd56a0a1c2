"""Copies of recordings: as they were but for what is changed, and damaged frames left out."""

import numpy as np
from attacked import frames_view

from attacks._judging.changed_copy import changed_copy, is_of, read_frame, written_anew
from defenses.codec import Precision
from defenses.errors import FrameError
from defenses.frame import SERVER, encode
from defenses.session import RoundInfo
from defenses.specs import MaskedSpec
from defenses.upload import Upload, UploadKind
from defenses.view import Direction, ServerView, ServerViewWriter
from defenses.view_facts import SumFacts


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


def test_whose_uploads_are_in_a_sum_goes_with_its_frame(tmp_path):
    groups = ((0, 1, 2), (3, 4, 5), (6, 7))
    with ServerViewWriter.create(
        tmp_path / "view", backbone="x", task="y", defense=MaskedSpec(min_clients=2)
    ) as writer:
        for group in groups:
            upload = Upload({"vector": np.full((2, 2, 3), group[0])}, len(group), 0, UploadKind.VECTOR)
            if not writer.facts.rounds:
                writer.begin_round(RoundInfo(0, UploadKind.VECTOR, tuple(range(8)), upload.layout))
            writer.add_sum(SumFacts(0, UploadKind.VECTOR, group))
            frame = encode(upload, SERVER, Precision.FP32)
            writer.append(Direction.COMPUTED, sender=SERVER, recipient=SERVER, round_number=0, frame=frame)
    view = ServerView.open(tmp_path / "view")
    assert changed_copy(view, tmp_path / "same", lambda record: record.frame).facts == view.facts
    left = changed_copy(view, tmp_path / "left", lambda r: None if r.index == 1 else r.frame)
    assert [told.clients for told in left.facts.sums] == [groups[0], groups[2]]
    assert [frame.upload.weight for frame in left.computed()] == [3, 2]
