"""Carries one round's frames between the server's session and the clients', until nobody has more to say.

The invariant: a client that stays silent, fails or refuses what it is sent is lost to the round and to nothing else, so
a round always comes to an end: in a sum, or in the server's reason for having none.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from functools import partial

from defenses.errors import FrameError, IfedprivError, ProtocolError
from defenses.session import ClientSession, HelperSession, ServerSession
from defenses.upload import Upload

Carry = Callable[[int, bytes], None]
"""Told of each frame, with the client at its other end."""


class Exchange:
    """The frames of one round.

    Args:
        server: the server's session.
        up: told of each frame to the server.
        down: told of each frame to a client.
        helpers: parties that are neither server nor client, by number; they answer and never speak first.
    """

    def __init__(
        self,
        server: ServerSession,
        up: Carry,
        down: Carry,
        helpers: Mapping[int, HelperSession] | None = None,
    ) -> None:
        self.server = server
        self.failed: set[int] = set()
        self.refusals: list[str] = []
        self.client_seconds = 0.0
        self._helpers = frozenset(helpers or {})
        self._up = up
        self._down = down
        self._sessions: dict[int, ClientSession | HelperSession] = dict(helpers or {})
        self._left: dict[int, int | None] = dict.fromkeys(self._sessions)
        self._on_the_way: deque[tuple[int, bytes]] = deque()

    def begin(self, client: int, session: ClientSession, upload: Upload, left: int | None = None) -> None:
        """Have a client protect its upload and send what comes of it.

        Args:
            client: its number.
            session: its session.
            upload: what it would like the server to have.
            left: how many frames it sends before it fails; None if it does not.
        """
        self._sessions[client], self._left[client] = session, left
        # A number that the wire cannot carry is for the user to mend, so it is not caught here.
        self._answer(client, partial(session.protect, upload), (ProtocolError,))

    def lose(self, clients: Collection[int]) -> None:
        """These clients are waited for no longer."""
        self.failed |= set(clients)
        self._queue(self.server.lost(clients))

    def finish(self) -> None:
        """Deliver until nothing is on the way and nobody is waited for."""
        while self._on_the_way or self.server.waiting_for:
            if not self._on_the_way:
                self.lose(self.server.waiting_for)
                continue
            client, frame = self._on_the_way.popleft()
            if client in self.failed:
                continue
            work = partial(self._sessions[client].receive, frame)
            self._answer(client, work, (ProtocolError, FrameError))

    def _answer(
        self, client: int, work: Callable[[], list[bytes]], refusals: tuple[type[IfedprivError], ...]
    ) -> None:
        """Let a session work and send its answer; one that refuses is lost."""
        before = time.process_time()
        try:
            frames = work()
        except refusals as error:
            self.refusals.append(str(error))
            self.lose([client])
            return
        finally:
            if client not in self._helpers:
                self.client_seconds += time.process_time() - before
        self._send(client, frames)

    def _send(self, client: int, frames: Collection[bytes]) -> None:
        for frame in frames:
            left = self._left[client]
            if left == 0:
                self.lose([client])
                return
            self._left[client] = None if left is None else left - 1
            self._up(client, frame)
            try:
                answers = self.server.receive(client, frame)
            except (ProtocolError, FrameError) as error:
                self.refusals.append(str(error))
                self.lose([client])
                return
            self._queue(answers)

    def _queue(self, frames: Mapping[int, list[bytes]]) -> None:
        for client, each in frames.items():
            for frame in each:
                self._down(client, frame)
                self._on_the_way.append((client, frame))
