"""The server audit's small rounds, with uploads off the grid, and sessions that tests may look into."""

from typing import ClassVar

import numpy as np
import pytest

from attacks._server import world as audit
from attacks._server.world import VICTIM, drive
from defenses.grid import Grid
from defenses.secagg.masked import derived
from defenses.secagg.masked.client import MaskedClient
from defenses.upload import Upload

__all__ = ["STAGES", "VICTIM", "Rounds", "World", "blind", "drive", "up_to"]

STAGES = ("advertising", "sharing", "masking", "signing", "unmasking")


class _OffGrid:
    """Uploads that are rounded by chance; what a client made of its own is read from its session."""

    POLICY: ClassVar = {**audit.POLICY, "clip": 4.0}

    def upload(self, client, **changes):
        rng = np.random.default_rng([client, self.info.number])
        values = {"v": rng.uniform(-3, 3, self.layout.size)}
        return Upload(values, changes.pop("weight", client % 8 + 1), self.info.number, self.info.kind)

    def client(self, number, info=None):
        """A client that has protected its upload; its input on the grid is kept for the test."""
        quantised = []
        honest = Grid.quantise

        def spy(grid, *arguments):
            quantised.append(honest(grid, *arguments))
            return quantised[0]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Grid, "quantise", spy)
            session = super().client(number, info)
        self.inputs[number] = quantised[0].slots.copy()
        return session

    def on_grid(self, upload):
        return None

    def exact(self, contributors):
        """What the sum must be."""
        total = sum((self.inputs[c] for c in contributors), np.zeros_like(self.inputs[contributors[0]]))
        return self.terms().grid.ring.wrap(total)

    def forget_diaries(self):
        """As if every client had been set back to before its first round."""
        for member in self.members.values():
            member.diary.highest = -1
            member.diary.given.clear()


class World(_OffGrid, audit.World):
    """A directory, a policy, a round, and what its clients upload."""


class Rounds(_OffGrid, audit.Rounds):
    """A world whose rounds are ratcheted."""


def blind(monkeypatch):
    """Clients and servers for which every signature and every inbox holds."""
    for name in ("advert_holds", "lists_hold"):
        monkeypatch.setattr(derived, name, lambda *_: True)
    monkeypatch.setattr(MaskedClient, "_inbox_holds", lambda *_: True)


def up_to(world, stage):
    """Server and clients where the server is about to take what the stage takes, and the frames on their way down."""
    server, clients = world.server(), world.clients()
    return server, clients, drive(server, clients, until=stage)
