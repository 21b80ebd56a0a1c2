"""docs/curve.md says of the fields of a curve what the code says."""

import curve_page

from ifedpriv.experiment.curve.config import CurveConfig


def test_page_is_current():
    said = curve_page.PAGE.read_text(encoding="utf-8")
    assert said == curve_page.page(), "run PYTHONPATH=. python tests/_support/curve_page.py"


def test_every_field_has_a_row():
    said = curve_page.PAGE.read_text(encoding="utf-8")
    for name in CurveConfig.model_fields:
        assert f"| `{name}` |" in said
