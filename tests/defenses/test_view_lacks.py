"""What is left of a recording says what it lacks: cut anywhere, and whichever defense made it."""

import numpy as np
import pytest

from defenses import (
    SERVER,
    ClearSpec,
    Direction,
    FrameError,
    Layout,
    RoundInfo,
    ServerView,
    ServerViewWriter,
    Upload,
    UploadKind,
    encode,
)
from defenses.frame import Precision
from defenses.specs import MaskedSpec
from defenses.view import FILE_MAGIC, RECORD_HEADER_SIZE
from defenses.view_facts import SumFacts
from defenses.view_lacks import lacks

LAYOUT = Layout.of({"v": (3,)})
CLIENTS = (1, 2, 5)


def frame(client, number):
    return encode(Upload({"v": np.ones(3)}, 1, number, UploadKind.VECTOR), client, Precision.FP32)


def recording(folder, *, defense=None, rounds=2, failed=(), summed=False):
    """Rounds of three clients; ``failed`` names rounds and clients that sent nothing."""
    made_under = defense or ClearSpec()
    with ServerViewWriter.create(folder, backbone="b" * 8, task="t" * 8, defense=made_under) as writer:
        for number in range(rounds):
            writer.begin_round(RoundInfo(number, UploadKind.VECTOR, CLIENTS, LAYOUT))
            for client in CLIENTS:
                if (number, client) not in failed:
                    sent = frame(client, number)
                    writer.append(
                        Direction.UP, sender=client, recipient=SERVER, round_number=number, frame=sent
                    )
            if summed:
                writer.add_sum(SumFacts(number, UploadKind.VECTOR, CLIENTS))
                writer.append(
                    Direction.COMPUTED,
                    sender=SERVER,
                    recipient=SERVER,
                    round_number=number,
                    frame=frame(SERVER, number),
                )
    return ServerView.open(folder)


def ends(view):
    """Where each record ends."""
    sizes = [RECORD_HEADER_SIZE + len(record.frame) for record in view.frames()]
    return np.cumsum([len(FILE_MAGIC), *sizes]).tolist()


@pytest.mark.parametrize(("defense", "summed"), [(ClearSpec(), False), (MaskedSpec(), True)])
def test_cut_at_every_byte_it_is_said_and_whole_it_is_not(tmp_path, defense, summed):
    view = recording(tmp_path, defense=defense, summed=summed)
    assert lacks(view) == ""
    path, after = tmp_path / "frames.bin", ends(view)
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        said = lacks(view)
        assert ("ends early, within a record" in said) == (cut not in after), cut
        assert "round 1" in said, cut
        assert ("round 0" in said) == (cut < after[len(after) // 2])


def test_uploads_are_counted_round_by_round(tmp_path):
    view = recording(tmp_path, rounds=6, failed={(0, 2)})
    assert lacks(view) == (
        "the recording lacks 1 of 3 uploads of round 0 (vector): somebody failed, or it ends early"
    )
    path = tmp_path / "frames.bin"
    path.write_bytes(path.read_bytes()[: ends(view)[4] + 5])
    assert lacks(view) == (
        "the recording ends early, within a record, and lacks 1 of 3 uploads of round 0 (vector), 1 of 3 uploads of "
        "round 1 (vector), 3 of 3 uploads of round 2 (vector) and 3 more"
    )


def test_sums_that_are_told_of_have_to_be_there(tmp_path):
    view = recording(tmp_path / "masked", defense=MaskedSpec())
    assert lacks(view).startswith(
        "the recording lacks 1 of 1 sums of round 0 (vector), 1 of 1 sums of round 1"
    )
    with ServerViewWriter.resume(recording(tmp_path / "central", summed=True).folder) as writer:
        writer.add_sum(SumFacts(1, UploadKind.VECTOR, CLIENTS))
    assert "lacks 1 of 2 sums of round 1" in lacks(ServerView.open(tmp_path / "central"))


def test_a_recording_that_was_damaged_is_refused(tmp_path):
    view = recording(tmp_path)
    path = tmp_path / "frames.bin"
    data = bytearray(path.read_bytes())
    data[len(FILE_MAGIC) + RECORD_HEADER_SIZE] ^= 1
    path.write_bytes(data)
    with pytest.raises(FrameError, match="damaged at record 0"):
        lacks(view)
