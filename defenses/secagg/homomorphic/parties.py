"""The parties of a homomorphic run as `Defense` asks for them, from the files that this process was given.

Invariant: a process makes a party's session only from that party's file; the key holder's file holds the others, so
a simulation, where all parties live in one process, needs only that.
"""

from __future__ import annotations

from defenses.entropy import Entropy
from defenses.errors import UserError
from defenses.secagg.homomorphic.client import HomomorphicClient
from defenses.secagg.homomorphic.holder import HolderSession, KeyHolder
from defenses.secagg.homomorphic.key_files import KeyFile
from defenses.secagg.homomorphic.keys import KEY_HOLDER, ClientKeys, HolderKeys, ServerKeys
from defenses.secagg.homomorphic.parameters import Scheme
from defenses.secagg.homomorphic.server import HomomorphicServer
from defenses.secagg.homomorphic.terms import Terms
from defenses.session import RoundInfo
from defenses.specs import BfvSpec, CkksSpec


class Parties:
    """Sessions of one run's parties.

    Args:
        spec: the defense.
        file: this party's file; the key holder's plays every party.
    """

    def __init__(self, spec: CkksSpec | BfvSpec, file: KeyFile) -> None:
        self.spec = spec
        self._file = file
        self._holder = KeyHolder(file, spec) if isinstance(file, HolderKeys) else None

    @classmethod
    def simulated(cls, spec: CkksSpec | BfvSpec, entropy: Entropy) -> Parties:
        """Fresh keys, and every party in this process."""
        return cls(spec, HolderKeys.generate(Scheme(spec.kind), entropy, encryption=spec.encryption))

    def client(self, me: int, round_info: RoundInfo, entropy: Entropy) -> HomomorphicClient:
        """One client's end of a round."""
        return HomomorphicClient(self._client_file(me), Terms.of(self.spec, round_info), entropy)

    def load_client(self, data: bytes, entropy: Entropy) -> HomomorphicClient:
        """A client's end from what its ``save`` gave."""
        return HomomorphicClient.load(data, self._client_file, self.spec, entropy)

    def server(self, round_info: RoundInfo) -> HomomorphicServer:
        """The server's end of a round."""
        return HomomorphicServer(self._server_file(), Terms.of(self.spec, round_info))

    def load_server(self, data: bytes) -> HomomorphicServer:
        """The server's end from what its ``save`` gave."""
        return HomomorphicServer.load(data, self._server_file(), self.spec)

    def helpers(self, round_info: RoundInfo) -> dict[int, HolderSession]:
        """The key holder's end of a round, by its number."""
        return {KEY_HOLDER: self.holder().session(round_info)}

    def holder(self) -> KeyHolder:
        """The key holder over the whole run."""
        if self._holder is None:
            raise _wrong_file("the key holder's")
        return self._holder

    def _client_file(self, me: int) -> ClientKeys:
        if isinstance(self._file, ClientKeys):
            if self._file.client != me:
                raise _wrong_file(f"client {me}'s")
            return self._file
        if isinstance(self._file, ServerKeys):
            raise _wrong_file(f"client {me}'s")
        return self.holder().keys.client_file(me)

    def _server_file(self) -> ServerKeys:
        if isinstance(self._file, ServerKeys):
            return self._file
        if isinstance(self._file, ClientKeys):
            raise _wrong_file("the server's")
        return self.holder().keys.server_file()

    def __repr__(self) -> str:
        return f"Parties({self.spec.kind}, {self._file!r})"


def _wrong_file(whose: str) -> UserError:
    return UserError(f"keys given to this process are not {whose}", "start it with that party's file")
