"""The audit of servers: every attack is withstood by what is shipped and succeeds where it should, and says so."""

import json
import re
import subprocess
import sys

import pytest
from program import ROOT, called, environment

from attacks import server
from attacks._server.case import Lane, Verdict, play
from attacks._server.suite import cases

SAID = {
    "key substitution": "client 11 did not sign these keys for this round, policy and context",
    "sybils in the roster": "client 77 is not in the key directory",
    "sybils in the directory": "key directory is not signed by the authority that this client trusts",
    "a directory of the server's own": "key directory is not signed by the authority",
    "server-chosen parameters": "it belongs to another round, roster, directory, policy or context",
    "a roster of one": "the roster of round 1 has 1 clients, fewer than defense.min_clients 3",
    "lying about dropouts": "leaves this client out, which is here",
    "false survivors": "`alive` has clients that the list before it lacks",
    "both shares of one peer": "client 11 in phase done refuses Survivors from the server: it takes nothing",
    "split view": "did not (sign|vouch for) the lists? that this client was shown",
    "split view, signatures held back": "`signed` has 3 clients, and this client takes part with 4",
    "single survivor": "1 clients, and this client takes part with|it sums 1 uploads, fewer than 3",
    "too small a sum": "`alive` has 2 clients, and this client takes part with 4",
    "crash in mid-round": "client 11 in phase done refuses Survivors",
    "model inconsistency": "did not sign these keys|did not vouch for the list|it is not the sum",
    "differencing cohorts": "an upload of kind vector has gone into a sum of this directory already",
    "replay of a round": "round 1 is not above round 1, which this client has joined",
    "replay of frames": "client 11 did not sign these keys for this round",
    "low-entropy mask": "no key that can be tried is the victim's",
    "weight leakage": "frames of a light and of a heavy client are alike",
    "data in exception texts": "[0-9]{3} texts, and in none of them any of [0-9]{3} secrets",
    "overflow": "the sum is exact",
    "NaN": "upload array 'v' holds a number that is not a finite float32",
    "bad shares": "refuses Unmask from client 11: its share of client 10 is not the one that was committed to",
    "wrong length": "refuses MaskedInput from client 11: it has 32 bytes of elements, where 7 take 28",
    "false numbers, in groups": "each number of the result lies between what groups without the cheat say",
    "seeds of another round": "what came out is not the client's upload",
    "one upload for the sum": "it is not the sum of those clients' uploads",
    "one left out": "it is not the sum of those clients' uploads",
    "forged sums": "it is not the sum of those clients' uploads",
    "differencing within a round": "a sum of round 4 of kind vector was decrypted before",
    "crash of the key holder": "a sum of round 4 of kind vector was decrypted before",
    "replay in the next round": "round 5 from the server: it is not the sum",
    "foreign ciphertexts": "it is not the sum of those clients' uploads",
    "the server's own file": "keys given to this process are not the key holder's",
}
"""What withstands each attack, in its own words: a refusal for another reason would prove nothing."""
HARMLESS = {
    "false numbers, in groups",
    "low-entropy mask",
    "weight leakage",
    "data in exception texts",
    "overflow",
    "seeds of another round",
}
SPOILS = {
    "false numbers, in groups",
    "overflow",
    "NaN",
    "bad shares",
    "wrong length",
    "foreign ciphertexts",
    "forged sums",
}
BEYOND = {
    "sybils under one directory",
    "differencing cohorts over rounds of coefficients",
    "sparse coordinates",
    "false numbers",
}


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.lane}: {case.name}")
def test_what_is_shipped_withstands_and_what_is_weakened_does_not(case):
    result = play(case)
    if case.limits:
        assert case.name in BEYOND and not result.trial.verdict.held and result.weakened == ()
        return
    expected = Verdict.HARMLESS if case.name in HARMLESS else Verdict.REFUSED
    assert result.trial.verdict is expected
    assert re.search(SAID[case.name], result.trial.answer), result.trial.answer
    falls = Verdict.SPOILED if case.name in SPOILS else Verdict.LEARNED
    for trial in result.weakened:
        assert trial.verdict is falls, trial
    assert result.weakened or (case.name, case.lane) == ("foreign ciphertexts", Lane.CKKS)


def test_no_attack_is_forgotten():
    assert {case.name for case in cases() if not case.limits} == set(SAID)
    assert {case.name for case in cases() if case.limits} == BEYOND
    keys = [(case.lane, case.name) for case in cases()]
    assert len(set(keys)) == len(keys) and {lane for lane, _ in keys} == set(Lane)
    assert tuple(Lane) == server.LANES
    page = (ROOT / "docs" / "cheating_server.md").read_text(encoding="utf-8")
    assert not [name for name in (*SAID, *BEYOND) if name not in page]


def test_the_command_says_that_all_held(tmp_path):
    out = tmp_path / "audit.json"
    said = called("attack", "server", "--lane", "ratchet", "--lane", "masked", "--out", out)
    assert (said.code, said.err) == (0, "")
    document = json.loads(out.read_text())
    tried = [each for each in document["attacks"] if not each["limits"]]
    assert document["held"] == len(tried) == 33 and document["broken"] == document["unproved"] == []
    assert "33 of 33 attacks were refused or harmless." in said.out
    assert "answer: client 77 is not in the key directory" in said.out
    assert "where the authority comes from the server: LEARNED, one client's whole upload" in said.out
    assert "what no protocol of this kind stops" in said.out


def test_the_audit_fails_on_weakened_clients():
    said = called("attack", "server", "--lane", "ratchet", "--weakened", "--json")
    assert said.code == server.BROKEN == 1
    document = json.loads(said.out)
    assert document["held"] == 0 and len(document["broken"]) == len(document["attacks"]) == 7
    said = called("attack", "server", "--only", "split view", "--weakened")
    assert said.code == 1 and "NOT WITHSTOOD: masked: split view; ratchet: split view" in said.out


def test_an_attack_that_fails_where_it_should_succeed_fails_the_audit(monkeypatch):
    import attacks._server.suite as suite
    from attacks._server.build import AS_SHIPPED
    from attacks._server.company import CASES

    blunt = suite.Case("blunt", Lane.MASKED, "nothing", CASES[0].attack, (AS_SHIPPED,))
    monkeypatch.setattr(suite, "cases", lambda *_: (blunt,))
    said = called("attack", "server")
    assert said.code == 1 and "FAILED ON A WEAKENED BUILD, SO PROVE NOTHING: masked: blunt" in said.out


def test_mistakes_and_lists():
    said = called("attack", "server", "--only", "magic")
    assert said.code == 2 and "--only names 'magic', which is no attack here" in said.err
    said = called("attack", "server", "--list", "--lane", "ratchet")
    assert said.code == 0 and len(said.out.splitlines()) == 7


def test_the_script_needs_no_run_and_loads_no_model():
    code = (
        "import sys, runpy; sys.argv = ['attacks/server.py', '--only', 'a roster of one'];"
        "\ntry: runpy.run_path('attacks/server.py', run_name='__main__')"
        "\nexcept SystemExit as e: assert e.code == 0, e.code"
        "\nassert not {'torch', 'transformers'} & set(sys.modules), 'heavy'"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "2 of 2 attacks" in done.stdout
