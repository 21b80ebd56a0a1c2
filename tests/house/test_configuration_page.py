"""docs/configuration.md and docs/config.schema.json say what the specs say."""

import json

import configuration_page
import pytest
from configuration_page import PAGE, SCHEMA, classes_in, documented, models, own_fields

from ifedpriv.config import RunConfig

REMEDY = "run PYTHONPATH=. python tests/_support/configuration_page.py"


def test_page_is_current():
    assert PAGE.read_text(encoding="utf-8") == configuration_page.page(), REMEDY


def test_schema_is_current():
    assert SCHEMA.read_text(encoding="utf-8") == configuration_page.schema_text(), REMEDY


@pytest.mark.parametrize("model", models(RunConfig), ids=lambda model: model.__name__)
def test_every_field_has_a_meaning_and_a_row(model):
    page, meanings = PAGE.read_text(encoding="utf-8"), documented(model)
    for name, field in model.model_fields.items():
        if field.is_required() is False and name in ("kind", "source"):
            assert str(field.default) in page
            continue
        assert meanings[name].endswith(".")
        assert f"{name}` |" in page


def test_schema_covers_every_class_and_closes_it_to_unknown_keys():
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    names = {model.__name__ for model in models(RunConfig)} - {"RunConfig"}
    assert names <= set(schema["$defs"])
    for name in names:
        assert schema["$defs"][name]["additionalProperties"] is False


def test_helpers_see_what_they_should():
    assert classes_in(RunConfig.model_fields["method"].annotation)
    assert "clients" not in own_fields(classes_in(RunConfig.model_fields["partition"].annotation)[0])
