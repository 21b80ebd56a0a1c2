"""Bytes counted where they cross the wire: payload (the packed numbers) and wire (the whole frame) apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from defenses.payload import payload_bytes


@dataclass(slots=True)
class Traffic:
    """Bytes of one direction, by client.

    Attributes:
        payload: client to bytes of packed numbers and their scales.
        wire: client to bytes of whole frames.
    """

    payload: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    wire: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    def count(self, client: int, frame: bytes) -> None:
        """Add one frame."""
        self.payload[client] += payload_bytes(frame)
        self.wire[client] += len(frame)

    def move(self, number: int, other: Traffic) -> None:
        """Count what was counted for this number there instead."""
        other.payload[number] += self.payload.pop(number, 0)
        other.wire[number] += self.wire.pop(number, 0)

    def totals(self) -> tuple[int, int]:
        """Payload and wire bytes of all clients together."""
        return sum(self.payload.values()), sum(self.wire.values())

    def to_dict(self) -> dict[str, dict[str, int]]:
        """As it goes into a checkpoint."""
        return {
            "payload": {str(c): n for c, n in sorted(self.payload.items())},
            "wire": {str(c): n for c, n in sorted(self.wire.items())},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Mapping[str, int]]) -> Traffic:
        """The inverse of `to_dict`."""
        result = cls()
        for client, n in data["payload"].items():
            result.payload[int(client)] = n
        for client, n in data["wire"].items():
            result.wire[int(client)] = n
        return result
