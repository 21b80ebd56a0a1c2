"""Ledger and statement: nothing is lost in JSON, and no number stands without a mechanism behind it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from defenses import (
    ClearSpec,
    Defense,
    Event,
    Ledger,
    Neighbouring,
    PrivacyStatement,
    PublicDeclaration,
    Trust,
    Unit,
    UploadKind,
    UserError,
)

TEXT = st.text(min_size=1, max_size=20)
POSITIVE = st.floats(min_value=1e-9, max_value=1e9)
CLIENTS = st.lists(st.integers(0, 99), max_size=4).map(tuple)
KINDS = st.none() | st.sampled_from(UploadKind)
BARE = st.builds(Event, TEXT, st.integers(0, 99), CLIENTS, KINDS)
NOISED = st.builds(
    Event,
    TEXT,
    st.integers(0, 99),
    CLIENTS,
    KINDS,
    TEXT.map("mechanism ".__add__),
    st.sampled_from(Unit),
    POSITIVE,
    POSITIVE,
    st.none() | st.sampled_from(Neighbouring),
    st.dictionaries(TEXT, POSITIVE | st.integers(1, 99) | st.none(), max_size=3).map(dict.items).map(tuple),
)
ENTRIES = st.one_of(BARE, NOISED, st.builds(PublicDeclaration, TEXT, TEXT))
LINES = st.lists(st.text(max_size=20), max_size=3).map(tuple)


@given(st.lists(ENTRIES, max_size=8), st.booleans())
def test_ledger_survives_json_in_order(entries, simulation):
    ledger = Ledger(simulation)
    for entry in entries:
        ledger.add(entry)
    back = Ledger.from_json(ledger.to_json())
    assert list(back) == list(ledger) == entries
    assert back.simulation is simulation
    assert [*map(type, back)] == [*map(type, entries)]
    assert len(back.events) + len(back.declarations) == len(back) == len(entries)
    for event in back.events:
        assert event.kind is None or isinstance(event.kind, UploadKind)
        assert event.unit is None or isinstance(event.unit, Unit)


@pytest.mark.parametrize(
    "fields",
    [
        {"sensitivity": 1.0},
        {"noise": 1.0},
        {"unit": Unit.CLIENT},
        {"mechanism": "gaussian"},
        {"mechanism": "gaussian", "unit": Unit.CLIENT, "sensitivity": 1.0},
        {"mechanism": "gaussian", "unit": Unit.CLIENT, "sensitivity": 1.0, "noise": 0.0},
        {"mechanism": "gaussian", "unit": Unit.CLIENT, "sensitivity": float("inf"), "noise": 1.0},
        {"mechanism": ""},
        {"released": ""},
        {"parameters": (("shares", 3),)},
        {"neighbouring": Neighbouring.REPLACE},
        {
            "mechanism": "gaussian",
            "unit": Unit.CLIENT,
            "sensitivity": 1.0,
            "noise": 1.0,
            "parameters": (("shares", float("nan")),),
        },
    ],
)
def test_numbers_and_mechanisms_go_together(fields):
    with pytest.raises(UserError, match=r"event\."):
        Event(**{"released": "means", "round": 0, "by": (1,), **fields})


def test_a_public_fact_needs_its_reason():
    with pytest.raises(UserError):
        PublicDeclaration("number of examples", "")


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"schema": 2}', '{"schema": 3}', '{"schema":1,"simulation":false,"entries":[{}]}'],
)
def test_other_texts_are_no_ledger_and_no_statement(text):
    with pytest.raises(UserError):
        Ledger.from_json(text)
    with pytest.raises(UserError):
        PrivacyStatement.from_json(text)


def test_ledgers_from_before_parameters_are_still_read():
    old = (
        '{"schema": 1, "simulation": false, "entries": [{"entry": "event", "released": "means", "round": 0, '
        '"by": [1], "kind": "vector", "mechanism": "gaussian", "unit": "client", "sensitivity": 1.0, "noise": 2.0}]}'
    )
    (event,) = Ledger.from_json(old).events
    assert (event.sensitivity, event.noise, event.neighbouring, event.parameters) == (1.0, 2.0, None, ())


def clear_statement(simulation=False):
    ledger = Ledger(simulation)
    ledger.add(PublicDeclaration("number of clients", "written in the configuration"))
    for number in range(3):
        ledger.add(Event("mean activations", number, (1,), UploadKind.VECTOR))
    return Defense.from_spec(ClearSpec()).statement(ledger)


def test_the_clear_statement_says_plainly_that_there_is_no_bound():
    statement = clear_statement()
    assert (statement.epsilon, statement.delta, statement.unit, statement.neighbouring) == (None,) * 4
    assert statement.trust is Trust.SERVER and not statement.bounded
    text = statement.text()
    assert text.startswith("There is no privacy bound.")
    assert "activations of private text" in text and "reads them one by one" in text
    assert "Releases: 3." in text
    assert "number of clients (written in the configuration)" in text
    assert "Simulation" not in text


def test_a_simulation_says_first_that_it_protects_nobody():
    assert clear_statement(simulation=True).text().startswith("Simulation:")
    assert "protects nobody" in clear_statement(simulation=True).text()


def test_the_clear_defense_has_no_statement_for_another_mechanism():
    ledger = Ledger()
    ledger.add(Event("means", 0, (1,), None, "gaussian", Unit.CLIENT, 1.0, 2.0))
    with pytest.raises(UserError, match="gaussian"):
        Defense.from_spec(ClearSpec()).statement(ledger)


BOUNDS = st.fixed_dictionaries(
    {
        "epsilon": st.floats(0, 100),
        "delta": st.floats(0, 0.5),
        "unit": st.sampled_from(Unit),
        "neighbouring": st.sampled_from(Neighbouring),
    }
)


@given(
    st.sampled_from(Trust), st.integers(0, 99), TEXT, BOUNDS | st.just({}), LINES, LINES, LINES, st.booleans()
)
def test_statement_survives_json_and_metadata(trust, releases, summary, bound, one, two, three, simulation):
    statement = PrivacyStatement(
        trust,
        releases,
        summary,
        **bound,
        assumptions=one,
        not_covered=two,
        public=three,
        simulation=simulation,
    )
    assert PrivacyStatement.from_json(statement.to_json()) == statement
    metadata = statement.to_metadata()
    assert all(isinstance(key, str) and isinstance(value, str) for key, value in metadata.items())
    assert PrivacyStatement.from_metadata(json.loads(json.dumps(metadata))) == statement
    assert statement.text() in metadata.values()
    assert ("There is no privacy bound." in statement.text()) is not statement.bounded


def test_a_bound_is_in_the_text():
    statement = PrivacyStatement(
        Trust.CENTRAL, 2, "Noise.", 1.5, 1e-6, Unit.EXAMPLE, Neighbouring.ADD_OR_REMOVE
    )
    assert statement.text().startswith(
        "The run is (1.5, 1e-06)-differentially private for one example (add or remove), "
        "with trust in: central."
    )


@pytest.mark.parametrize(
    "bound",
    [
        {"epsilon": 1.0},
        {"delta": 1e-6, "unit": "client"},
        {"epsilon": -1.0, "delta": 0.0, "unit": "client", "neighbouring": "replace"},
        {"epsilon": float("inf"), "delta": 0.0, "unit": "client", "neighbouring": "replace"},
        {"epsilon": 1.0, "delta": 1.0, "unit": "client", "neighbouring": "replace"},
    ],
)
def test_half_bounds_and_senseless_bounds_are_refused(bound):
    with pytest.raises(UserError, match="statement"):
        PrivacyStatement(Trust.LOCAL, 1, "x", **bound)


def test_metadata_of_another_file_is_refused():
    with pytest.raises(UserError, match="metadata"):
        PrivacyStatement.from_metadata({"format": "pt"})
