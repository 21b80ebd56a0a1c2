"""Key files on disk: for their owner alone, never over others, and each for one party."""

import os
import stat
import subprocess
import sys

import pytest
from homomorphic import ROSTER, ROUND, SPECS, exact, keys, request_of, same, upload
from program import ROOT, called, environment

from defenses import Defense, FrameError, InsecureSeeded, SecureEntropy, UserError
from defenses.secagg.homomorphic.key_files import client_name, read_key_file, write_key_files
from defenses.secagg.homomorphic.keys import KEY_HOLDER, ClientKeys, HolderKeys, ServerKeys
from defenses.secagg.homomorphic.parties import Parties

SPEC = SPECS[0]


@pytest.fixture
def folder(tmp_path):
    before = os.umask(0)  # the strictest case: nothing but the program itself keeps others out
    write_key_files(tmp_path / "keys", keys("bfv"), ROSTER)
    os.umask(before)
    return tmp_path / "keys"


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_secrets_are_for_their_owner(folder):
    assert {path.name for path in folder.iterdir()} == {"holder.key", "server.key", *map(client_name, ROSTER)}
    assert mode(folder) == 0o700 and mode(folder / "server.key") == 0o644
    assert {mode(folder / name) for name in ("holder.key", *map(client_name, ROSTER))} == {0o600}


def test_each_file_is_read_as_what_it_is_and_serves_one_party(folder):
    kinds = {"holder.key": HolderKeys, "server.key": ServerKeys, "client-3.key": ClientKeys}
    by = {}
    for name, kind in kinds.items():
        file = read_key_file(folder / name)
        assert type(file) is kind
        by[name] = Defense(SPEC, Parties(SPEC, file))
    for name, ask in (
        ("server.key", lambda d: d.helpers(ROUND)),
        ("server.key", lambda d: d.client(3, ROUND, SecureEntropy())),
        ("client-3.key", lambda d: d.helpers(ROUND)),
        ("client-3.key", lambda d: d.server(ROUND)),
        ("client-3.key", lambda d: d.client(5, ROUND, SecureEntropy())),
    ):
        with pytest.raises(UserError, match="keys given to this process are not"):
            ask(by[name])


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o660])
def test_a_secret_that_others_may_read_is_not_used(folder, bits):
    for name in ("holder.key", "client-3.key"):
        (folder / name).chmod(bits)
        with pytest.raises(UserError, match=f"may be read by others .mode {bits:o}"):
            read_key_file(folder / name)


def test_keys_are_never_written_over_others(folder):
    before = (folder / "holder.key").read_bytes()
    with pytest.raises(UserError, match="is not empty"):
        write_key_files(folder, keys("bfv", which=1), ROSTER)
    assert (folder / "holder.key").read_bytes() == before


def test_what_is_no_key_file_is_refused(folder, tmp_path):
    (tmp_path / "session").write_bytes(Defense(SPEC, Parties(SPEC, keys("bfv"))).server(ROUND).save())
    with pytest.raises(FrameError, match="is no key file"):
        read_key_file(tmp_path / "session")
    data = (folder / "holder.key").read_bytes()
    (folder / "holder.key").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(FrameError, match="damaged"):
        read_key_file(folder / "holder.key")
    with pytest.raises(UserError, match="cannot be read"):
        read_key_file(folder / "nothing.key")


HOLDER = """
import sys
from pathlib import Path
from homomorphic import ROUND, SPECS
from defenses.secagg.homomorphic.holder import KeyHolder
from defenses.secagg.homomorphic.key_files import read_key_file
holder = KeyHolder(read_key_file(Path(sys.argv[1])), SPECS[0])
sys.stdout.buffer.write(holder.session(ROUND).receive(sys.stdin.buffer.read())[0])
"""


def test_a_round_with_the_key_holder_in_a_process_of_its_own(folder):
    """Every end has its own file only; the server's process never sees the key holder's."""
    frames = {}
    for client in ROSTER:
        mine = Defense(SPEC, Parties(SPEC, read_key_file(folder / client_name(client))))
        (frames[client],) = mine.client(client, ROUND, InsecureSeeded(0, str(client))).protect(upload(client))
    at_server = Defense(SPEC, Parties(SPEC, read_key_file(folder / "server.key")))
    server, request = request_of(at_server, ROSTER, frames=frames)
    support = str(ROOT / "tests" / "_support")
    done = subprocess.run(
        [sys.executable, "-c", HOLDER, str(folder / "holder.key")],
        input=request,
        env={**environment(), "PYTHONPATH": os.pathsep.join((str(ROOT), support))},
        capture_output=True,
        check=True,
    )
    server.receive(KEY_HOLDER, done.stdout)
    assert same(server.aggregate(), *exact(SPEC, ROSTER))


def test_the_command(tmp_path):
    said = called("keys", "--kind", "bfv", "--clients", "3", "--out", tmp_path / "a")
    assert said.code == 0 and "the key holder's; whoever reads it opens every upload" in said.out
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == [
        *("client-0.key", "client-1.key", "client-2.key", "holder.key", "server.key")
    ]
    files = [read_key_file(path) for path in (tmp_path / "a").iterdir()]
    assert len({file.key_id for file in files}) == 1 and mode(tmp_path / "a" / "holder.key") == 0o600
    named = called(
        "keys",
        "--kind",
        "ckks",
        "--clients",
        "7,4",
        "--out",
        tmp_path / "b",
        "--encryption",
        "symmetric",
        "--json",
    )
    assert named.code == 0 and '"clients": [' in named.out
    client = read_key_file(tmp_path / "b" / "client-4.key")
    assert client.client == 4 and client.encrypts == read_key_file(tmp_path / "b" / "holder.key").decrypts
    for bad, why in (
        (("--clients", "0", "--out", tmp_path / "c"), "--clients is 0; give 1 to"),
        (("--clients", "3,3", "--out", tmp_path / "c"), "once"),
        (("--clients", "x", "--out", tmp_path / "c"), "'x'"),
        (("--clients", "3", "--out", tmp_path / "a"), "is not empty"),
    ):
        said = called("keys", "--kind", "bfv", *bad)
        assert said.code == 2 and why in said.refusal().replace("\nifedpriv: hint: ", "; ")
    assert not (tmp_path / "c").exists()
