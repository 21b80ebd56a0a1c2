"""The files in which the parties of an encrypted run keep their keys: written once, readable by their owner alone.

Invariant: a secret is never written into a file that others may read, nor over a file that is there; and a file is read
as what it is, so that no party can be started with another's.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from pathlib import Path

from defenses.errors import FrameError, UserError
from defenses.secagg.homomorphic.keys import ClientKeys, HolderKeys, ServerKeys
from defenses.session import saved_role

KeyFile = HolderKeys | ClientKeys | ServerKeys

HOLDER, SERVER = "holder.key", "server.key"
_PRIVATE, _PUBLIC = 0o600, 0o644
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_LOADERS = {kind._ROLE: kind for kind in (HolderKeys, ClientKeys, ServerKeys)}


def client_name(client: int) -> str:
    """What a client's file is called."""
    return f"client-{client}.key"


def write_key_files(folder: Path, keys: HolderKeys, clients: Collection[int]) -> tuple[Path, ...]:
    """One file for each party, in a folder that only the caller may enter.

    Args:
        folder: a new or an empty folder.
        keys: everything; ``holder.key`` holds it.
        clients: their numbers; each gets a file of its own.

    Returns:
        The files, the key holder's first.

    Raises:
        UserError: the folder holds files already, or cannot be written.
    """
    files = {HOLDER: (keys.save(), _PRIVATE), SERVER: (keys.server_file().save(), _PUBLIC)}
    files |= {client_name(c): (keys.client_file(c).save(), _PRIVATE) for c in sorted(clients)}
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UserError(
                f"folder {folder} is not empty", "give a new one: keys are never written over others"
            )
        for name, (content, mode) in files.items():
            # Created with its mode, and only if it is new: there is no moment at which others could open it.
            number = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(number, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        raise UserError(
            f"folder {folder} cannot be written ({error.strerror or type(error).__name__})",
            "give a folder you may write",
        ) from error
    return tuple(folder / name for name in files)


def read_key_file(path: Path) -> KeyFile:
    """A party's keys from its file.

    Raises:
        UserError: it cannot be read, or others than its owner may read the secret in it.
        FrameError: it is damaged, or no key file.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read()
    except OSError as error:
        raise UserError(
            f"key file {path} cannot be read ({error.strerror or type(error).__name__})",
            "give this party's file",
        ) from error
    loader = _LOADERS.get(saved_role(data))
    if loader is None:
        raise FrameError(f"{path} is no key file", "give one that ifedpriv keys has made")
    if loader is not ServerKeys and mode & _OTHERS and os.name == "posix":
        raise UserError(
            f"key file {path} may be read by others (mode {stat.S_IMODE(mode):o})",
            "take it back (chmod 600), and if anybody has read it, make new keys",
        )
    return loader.load(data)
