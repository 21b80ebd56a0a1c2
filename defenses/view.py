"""What the server could see, as a folder: the recording that every attack reads.

`docs/server_view.md` is the specification. Invariant: the recording holds frames as they crossed the wire, in
order, and public facts, never a client's private data in another form; and a file whose last record was cut
off by a crash reads as if that record had never been written.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO

from defenses.errors import FrameError, UserError
from defenses.frame import DecodedFrame, decode, peek
from defenses.session import RoundInfo
from defenses.specs import DefenseSpec
from defenses.upload import Layout, UploadKind
from defenses.view_facts import Computes, SumFacts, ViewFacts

FILE_MAGIC = b"IFVIEW1\n"
RECORD_FIELDS: tuple[tuple[str, str], ...] = (
    ("length", "I"),
    ("crc", "I"),
    ("index", "I"),
    ("direction", "B"),
    ("sender", "I"),
    ("recipient", "I"),
    ("round", "I"),
)
"""Name and `struct` code of a record's header fields, little-endian and without gaps."""

_RECORD = struct.Struct("<" + "".join(code for _, code in RECORD_FIELDS))
RECORD_HEADER_SIZE = _RECORD.size
_CRC_FROM = struct.calcsize("<II")


class Direction(StrEnum):
    """Which way a frame went, as the server sees it; COMPUTED went nowhere: the server worked it out."""

    UP = "up"
    DOWN = "down"
    COMPUTED = "computed"


_DIRECTION_CODES = {Direction.UP: 0, Direction.DOWN: 1, Direction.COMPUTED: 2}
_DIRECTIONS = {code: direction for direction, code in _DIRECTION_CODES.items()}


@dataclass(frozen=True, slots=True, repr=False)
class FrameRecord:
    """One frame on the wire.

    Attributes:
        index: place in time, from 0.
        direction: to or from the server, or computed by it.
        sender: number of the client, or `SERVER`.
        recipient: number of the client, or `SERVER`.
        round: number of the round in which it travelled.
        frame: the bytes.
    """

    index: int
    direction: Direction
    sender: int
    recipient: int
    round: int
    frame: bytes

    def __repr__(self) -> str:
        return (
            f"FrameRecord({self.index}, {self.direction}, {self.sender} to {self.recipient}, "
            f"round={self.round}, <{len(self.frame)} bytes>)"
        )


def _read_record(file: IO[bytes], remaining: int) -> tuple[FrameRecord, int] | None:
    """The record at the file's place and its size, or None where fewer bytes remain than it needs."""
    head = file.read(RECORD_HEADER_SIZE)
    if len(head) < RECORD_HEADER_SIZE:
        return None
    length, crc, index, direction, sender, recipient, round_number = _RECORD.unpack(head)
    size = RECORD_HEADER_SIZE + length
    if size > remaining:
        return None
    frame = file.read(length)
    intact = crc == zlib.crc32(frame, zlib.crc32(head[_CRC_FROM:]))
    if not intact or direction not in _DIRECTIONS:
        if size == remaining:
            return None
        raise FrameError(f"frames.bin is damaged at record {index}, before its end", "use an undamaged copy")
    return FrameRecord(index, _DIRECTIONS[direction], sender, recipient, round_number, frame), size


def _scan(path: Path) -> Iterator[tuple[FrameRecord, int]]:
    """Every whole record and the offset at which it ends."""
    total = path.stat().st_size
    with path.open("rb") as file:
        magic = file.read(len(FILE_MAGIC))
        if not FILE_MAGIC.startswith(magic):
            raise FrameError(
                "frames.bin does not begin as a recording does", "use the folder as it was recorded"
            )
        at = min(total, len(FILE_MAGIC))
        expected = 0
        while at < total:
            found = _read_record(file, total - at)
            if found is None:
                return
            record, size = found
            if record.index != expected:
                raise FrameError(f"frames.bin has record {record.index} where {expected} belongs")
            at += size
            expected += 1
            yield record, at


class ServerViewWriter:
    """Appends to a recording; use `create` or `resume`, and close it (it is a context manager)."""

    def __init__(self, folder: Path, facts: ViewFacts, keep: int, next_index: int) -> None:
        self._folder = folder
        self._facts = facts
        self._file = (folder / "frames.bin").open("r+b")
        self._cut(keep, next_index)

    @classmethod
    def create(
        cls, folder: Path | str, *, backbone: str, task: str, defense: DefenseSpec
    ) -> ServerViewWriter:
        """Start a recording in a folder that holds none yet."""
        folder = Path(folder)
        if (folder / "view.json").exists():
            raise UserError(f"folder {folder} holds a recording already", "choose another, or resume it")
        folder.mkdir(parents=True, exist_ok=True)
        facts = ViewFacts(backbone, task, defense)
        (folder / "frames.bin").write_bytes(FILE_MAGIC)
        _write_facts(folder, facts)
        return cls(folder, facts, len(FILE_MAGIC), 0)

    @classmethod
    def resume(cls, folder: Path | str) -> ServerViewWriter:
        """Go on with a recording; a record that a crash cut off is dropped."""
        folder = Path(folder)
        facts = _read_facts(folder)
        end, count = len(FILE_MAGIC), 0
        for _, after in _scan(folder / "frames.bin"):
            end, count = after, count + 1
        return cls(folder, facts, end, count)

    @property
    def facts(self) -> ViewFacts:
        """What has been written to ``view.json``."""
        return self._facts

    def begin_round(self, round_info: RoundInfo) -> None:
        """Write down what both ends know of a round; a round may begin only once."""
        if any((e.number, e.kind) == (round_info.number, round_info.kind) for e in self._facts.rounds):
            raise UserError(
                f"round {round_info.number} of kind {round_info.kind} has begun already in this recording",
                "cut the recording back before you repeat a round",
            )
        self._set_facts(rounds=(*self._facts.rounds, round_info))

    def add_layout(self, layout: Layout) -> None:
        """Write down a layout that only travels down, so that broadcasts can be read."""
        if layout not in self._facts.layouts:
            self._set_facts(layouts=(*self._facts.layouts, layout))

    def add_sum(self, sum_facts: SumFacts) -> None:
        """Write down whose uploads are in the next computed frame."""
        self._set_facts(sums=(*self._facts.sums, sum_facts))

    def append(
        self, direction: Direction, *, sender: int, recipient: int, round_number: int, frame: bytes
    ) -> None:
        """Write one frame down, as it crossed the wire."""
        code = _DIRECTION_CODES[Direction(direction)]
        head = _RECORD.pack(len(frame), 0, self._next_index, code, sender, recipient, round_number)
        crc = zlib.crc32(frame, zlib.crc32(head[_CRC_FROM:]))
        self._file.write(struct.pack("<II", len(frame), crc) + head[_CRC_FROM:] + frame)
        self._next_index += 1

    def flush(self) -> None:
        """Have everything on disk before going on."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def copy_after(self, round_number: int, folder: Path | str) -> bool:
        """Put every frame and every round after this one into a recording of their own.

        Returns:
            Whether there was any frame; without one there is no such recording.
        """
        self._file.flush()
        later = [record for record, _ in _scan(self._folder / "frames.bin") if record.round > round_number]
        if not later:
            return False
        facts = self._facts
        created = ServerViewWriter.create(
            folder, backbone=facts.backbone, task=facts.task, defense=facts.defense
        )
        with created as other:
            other._set_facts(
                rounds=tuple(entry for entry in facts.rounds if entry.number > round_number),
                layouts=facts.layouts,
                sums=tuple(entry for entry in facts.sums if entry.round > round_number),
            )
            for record in later:
                other.append(
                    record.direction,
                    sender=record.sender,
                    recipient=record.recipient,
                    round_number=record.round,
                    frame=record.frame,
                )
        return True

    def truncate_to(self, round_number: int) -> None:
        """Forget every frame and every round after this one; -1 forgets all."""
        self._file.flush()
        keep, count = len(FILE_MAGIC), 0
        for record, end in _scan(self._folder / "frames.bin"):
            if record.round > round_number:
                break
            keep, count = end, count + 1
        self._cut(keep, count)
        self._set_facts(
            rounds=tuple(entry for entry in self._facts.rounds if entry.number <= round_number),
            sums=tuple(entry for entry in self._facts.sums if entry.round <= round_number),
        )

    def close(self) -> None:
        """Flush and close."""
        if not self._file.closed:
            self.flush()
            self._file.close()

    def __enter__(self) -> ServerViewWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _cut(self, keep: int, next_index: int) -> None:
        self._file.seek(0)
        self._file.write(FILE_MAGIC)
        self._file.truncate(keep)
        self._file.seek(keep)
        self._next_index = next_index

    def _set_facts(
        self,
        rounds: tuple[RoundInfo, ...] | None = None,
        layouts: tuple[Layout, ...] | None = None,
        sums: tuple[SumFacts, ...] | None = None,
    ) -> None:
        old = self._facts
        self._facts = ViewFacts(
            old.backbone,
            old.task,
            old.defense,
            old.rounds if rounds is None else rounds,
            old.layouts if layouts is None else layouts,
            old.sums if sums is None else sums,
        )
        _write_facts(self._folder, self._facts)


@dataclass(frozen=True, slots=True)
class ServerView:
    """A recording, read only; make it with `open`.

    Attributes:
        folder: where it lies.
        facts: what is public about the run.
    """

    folder: Path
    facts: ViewFacts

    @classmethod
    def open(cls, folder: Path | str) -> ServerView:
        """The recording in a folder; frames are read when they are asked for."""
        folder = Path(folder)
        if not (folder / "frames.bin").exists():
            raise UserError(f"folder {folder} holds no frames.bin", "name the folder view/ of a recorded run")
        return cls(folder, _read_facts(folder))

    def frames(self) -> Iterator[FrameRecord]:
        """Every whole record, in order."""
        return (record for record, _ in _scan(self.folder / "frames.bin"))

    @property
    def is_torn(self) -> bool:
        """Whether the file ends within a record, as a crash leaves it; `frames` gives what stands before."""
        path, end = self.folder / "frames.bin", len(FILE_MAGIC)
        for _, after in _scan(path):
            end = after
        return path.stat().st_size != end

    def uploads(self, kind: UploadKind | None = None) -> Iterator[DecodedFrame]:
        """Every client's upload as the server reads it, in order of arrival.

        Frames that do not decode are left out: the server, which uses the same decoder, refused them too.

        Raises:
            UserError: under the run's defense the server cannot read one client's upload.
        """
        if Computes.INDIVIDUAL_UPLOADS not in self.facts.server_computes:
            raise UserError(
                "this recording shows no individual uploads", "attack what the server can compute"
            )
        return self._decoded(Direction.UP, kind)

    def broadcasts(self, kind: UploadKind | None = None) -> Iterator[DecodedFrame]:
        """What the server sent to clients, in order; a frame sent to many appears once for each."""
        return self._decoded(Direction.DOWN, kind)

    def computed(self, kind: UploadKind | None = None) -> Iterator[DecodedFrame]:
        """What the server worked out of frames that it cannot read one by one: means, with the total weight."""
        return self._decoded(Direction.COMPUTED, kind)

    def _decoded(self, direction: Direction, kind: UploadKind | None) -> Iterator[DecodedFrame]:
        for record in self.frames():
            if record.direction is not direction:
                continue
            try:
                header = peek(record.frame)
                layout = self.facts.layout(header.layout_digest)
                if layout is None or (kind is not None and header.kind is not kind):
                    continue
                decoded = decode(record.frame, layout)
            except FrameError:
                continue
            yield decoded


def _write_facts(folder: Path, facts: ViewFacts) -> None:
    # Written beside and moved over: a crash leaves the old facts or the new ones, never half of them.
    beside = folder / "view.json.new"
    with beside.open("w", encoding="utf-8") as file:
        file.write(facts.to_json())
        file.flush()
        os.fsync(file.fileno())
    beside.replace(folder / "view.json")


def _read_facts(folder: Path) -> ViewFacts:
    path = folder / "view.json"
    if not path.exists():
        raise UserError(f"folder {folder} holds no view.json", "name the folder view/ of a recorded run")
    return ViewFacts.from_json(path.read_text(encoding="utf-8"))
