"""The recording: what was written is read back, and a crash costs at most the record it cut."""

import json
import struct

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
    UserError,
    encode,
)
from defenses.frame import Precision
from defenses.view import FILE_MAGIC, RECORD_HEADER_SIZE
from defenses.view_facts import SumFacts, ViewFacts

LAYOUT = Layout.of({"v": (3,)})
DOWN_LAYOUT = Layout.of({"state": (2,)})


def create(folder):
    return ServerViewWriter.create(folder, backbone="b" * 8, task="t" * 8, defense=ClearSpec())


def round_info(number):
    return RoundInfo(number, UploadKind.VECTOR, (1, 2), LAYOUT)


def upload_frame(client, number):
    return encode(Upload({"v": np.full(3, client)}, 1, number, UploadKind.VECTOR), client, Precision.INT4)


def write_round(writer, number):
    writer.begin_round(round_info(number))
    state = encode(Upload({"state": np.ones(2)}, 1, number, UploadKind.COEFFICIENTS), SERVER, Precision.FP16)
    for client in (1, 2):
        writer.append(Direction.DOWN, sender=SERVER, recipient=client, round_number=number, frame=state)
    for client in (1, 2):
        frame = upload_frame(client, number)
        writer.append(Direction.UP, sender=client, recipient=SERVER, round_number=number, frame=frame)


def recording(folder, rounds=2):
    with create(folder) as writer:
        writer.add_layout(DOWN_LAYOUT)
        for number in range(rounds):
            write_round(writer, number)
    return ServerView.open(folder)


def test_what_was_written_is_read(tmp_path):
    view = recording(tmp_path / "view")
    records = list(view.frames())
    assert [record.index for record in records] == list(range(8))
    assert [record.direction for record in records] == ["down", "down", "up", "up"] * 2
    assert [(record.sender, record.recipient) for record in records[:4]] == [
        (SERVER, 1),
        (SERVER, 2),
        (1, SERVER),
        (2, SERVER),
    ]
    assert records[2].frame == upload_frame(1, 0)
    assert [record.round for record in records] == [0] * 4 + [1] * 4
    assert view.facts.rounds == (round_info(0), round_info(1))
    assert set(view.facts.layouts) == {LAYOUT, DOWN_LAYOUT}


def test_uploads_and_broadcasts(tmp_path):
    view = recording(tmp_path)
    uploads = list(view.uploads(UploadKind.VECTOR))
    assert [(u.sender, u.upload.round) for u in uploads] == [(1, 0), (2, 0), (1, 1), (2, 1)]
    np.testing.assert_allclose(uploads[1].upload.arrays["v"], 2, rtol=0.01)
    assert list(view.uploads(UploadKind.SCORES)) == []
    assert len(list(view.uploads())) == 4
    broadcasts = list(view.broadcasts())
    assert [b.sender for b in broadcasts] == [SERVER] * 4
    assert broadcasts[0].upload.arrays["state"].tolist() == [1, 1]


def test_frames_that_do_not_decode_are_kept_but_are_no_uploads(tmp_path):
    with create(tmp_path) as writer:
        write_round(writer, 0)
        writer.append(Direction.UP, sender=1, recipient=SERVER, round_number=0, frame=b"nonsense")
        other = encode(Upload({"x": np.zeros(9)}, 1, 0, UploadKind.VECTOR), 1, Precision.FP32)
        writer.append(Direction.UP, sender=1, recipient=SERVER, round_number=0, frame=other)
        writer.append(Direction.UP, sender=1, recipient=SERVER, round_number=0, frame=b"")
    view = ServerView.open(tmp_path)
    assert [len(record.frame) for record in view.frames()][-3:] == [8, len(other), 0]
    assert [u.sender for u in view.uploads()] == [1, 2]


def test_cut_at_every_byte(tmp_path):
    """However short the file, the whole records before the cut are read, and writing can go on."""
    view = recording(tmp_path, rounds=1)
    path = tmp_path / "frames.bin"
    whole = path.read_bytes()
    records = list(view.frames())
    ends = np.cumsum([len(FILE_MAGIC)] + [RECORD_HEADER_SIZE + len(record.frame) for record in records])
    assert ends[-1] == len(whole)
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        survivors = sum(1 for end in ends[1:] if end <= cut)
        assert list(view.frames()) == records[:survivors]
        with ServerViewWriter.resume(tmp_path) as writer:
            writer.append(Direction.UP, sender=7, recipient=SERVER, round_number=9, frame=b"after")
        after = list(view.frames())
        assert after[:-1] == records[:survivors]
        assert (after[-1].index, after[-1].frame) == (survivors, b"after")


def test_a_torn_last_record_is_dropped_and_damage_further_in_is_refused(tmp_path):
    view = recording(tmp_path, rounds=1)
    path = tmp_path / "frames.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert len(list(view.frames())) == 3
    at = len(FILE_MAGIC) + RECORD_HEADER_SIZE
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(FrameError, match="damaged at record 0"):
        list(view.frames())
    path.write_bytes(b"something else")
    with pytest.raises(FrameError, match="does not begin"):
        list(view.frames())


def test_a_missing_record_is_refused(tmp_path):
    view = recording(tmp_path, rounds=1)
    path = tmp_path / "frames.bin"
    whole = path.read_bytes()
    start = len(FILE_MAGIC)
    (length,) = struct.unpack_from("<I", whole, start)
    path.write_bytes(whole[:start] + whole[start + RECORD_HEADER_SIZE + length :])
    with pytest.raises(FrameError, match="record 1 where 0 belongs"):
        list(view.frames())


@pytest.mark.parametrize("last", [-1, 0, 1, 2, 7])
def test_cut_back_to_a_round_and_repeat(tmp_path, last):
    view = recording(tmp_path, rounds=3)
    before = list(view.frames())
    with ServerViewWriter.resume(tmp_path) as writer:
        writer.truncate_to(last)
        kept = [record for record in before if record.round <= last]
        assert list(view.frames()) == kept
        assert [entry.number for entry in ServerView.open(tmp_path).facts.rounds] == list(
            range(min(last, 2) + 1)
        )
        for number in range(min(last, 2) + 1, 3):
            write_round(writer, number)
    assert list(view.frames()) == before
    assert ServerView.open(tmp_path).facts == view.facts


def write_sums(writer, number, groups=((1,), (2,)), crash=None):
    """Sums of a round's groups; killed before the frame of number ``crash``, of which the facts are there already."""
    for place, clients in enumerate(groups):
        writer.add_sum(SumFacts(number, UploadKind.VECTOR, clients))
        if place == crash:
            return
        frame = upload_frame(SERVER, number)
        writer.append(Direction.COMPUTED, sender=SERVER, recipient=SERVER, round_number=number, frame=frame)


@pytest.mark.parametrize("crash", [0, 1, None])
@pytest.mark.parametrize("killed", [0, 1, 2])
def test_whose_uploads_are_in_sums_is_whole_after_a_crash(tmp_path, killed, crash):
    """Cut back to the round before and played again, as a resumed run does."""
    for name in ("whole", "killed"):
        with create(tmp_path / name) as writer:
            for number in range(3):
                write_round(writer, number)
                at = crash if (name, number) == ("killed", killed) else None
                write_sums(writer, number, crash=at)
                if (name, number) == ("killed", killed):
                    break
    with ServerViewWriter.resume(tmp_path / "killed") as writer:
        writer.truncate_to(killed - 1)
        assert [entry.round for entry in writer.facts.sums] == [n for n in range(killed) for _ in range(2)]
        for number in range(killed, 3):
            write_round(writer, number)
            write_sums(writer, number)
    whole, gone_on = (ServerView.open(tmp_path / name) for name in ("whole", "killed"))
    assert gone_on.facts == whole.facts
    assert len(whole.facts.sums) == 6
    assert list(gone_on.frames()) == list(whole.frames())


def test_a_round_begins_once(tmp_path):
    with create(tmp_path) as writer:
        writer.begin_round(round_info(0))
        with pytest.raises(UserError, match="has begun already"):
            writer.begin_round(round_info(0))
        writer.begin_round(RoundInfo(0, UploadKind.COEFFICIENTS, (1, 2), LAYOUT))


def test_flush_makes_frames_readable(tmp_path):
    writer = create(tmp_path)
    write_round(writer, 0)
    writer.flush()
    assert len(list(ServerView.open(tmp_path).frames())) == 4
    writer.close()


def test_facts_survive_json_and_say_what_the_server_computes(tmp_path):
    view = recording(tmp_path)
    assert ViewFacts.from_json(view.facts.to_json()) == view.facts
    data = json.loads((tmp_path / "view.json").read_text())
    assert data["server_computes"] == ["individual uploads", "weights", "means"]
    assert data["defense"] == ClearSpec().model_dump(mode="json")
    documented = {"schema", "backbone", "task", "defense", "server_computes", "rounds", "layouts"}
    assert set(data) == documented
    for broken in ("", "[]", "{}", '{"schema": 9}', json.dumps({**data, "rounds": 3})):
        with pytest.raises(UserError, match="view"):
            ViewFacts.from_json(broken)


def test_folders_that_are_no_recordings(tmp_path):
    with pytest.raises(UserError, match=r"frames\.bin"):
        ServerView.open(tmp_path)
    with pytest.raises(UserError, match=r"view\.json"):
        ServerViewWriter.resume(tmp_path)
    recording(tmp_path / "one")
    with pytest.raises(UserError, match="holds a recording already"):
        create(tmp_path / "one")
