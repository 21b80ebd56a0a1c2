"""Writes the table of fields in docs/curve.md from the specs themselves:

PYTHONPATH=. python tests/_support/curve_page.py
"""

from configuration_page import DOCS, documented, readable

from ifedpriv.experiment.curve.config import CurveConfig

PAGE = DOCS / "curve.md"
_BEGIN, _END = "<!-- fields -->\n", "<!-- end -->"
_TYPES = {
    "schema_version": "`1`",
    "name": "text",
    "run": "section",
    "epsilons": "list of numbers, > 0",
    "units": "list of `example`, `client`",
    "trusts": "list of `central`, `distributed`, `local`",
    "controls": "list of `zero_vector`, `random_vector`, `public_mean`, `other_task`",
    "attack": "yes or no",
    "repeats": "whole number, ≥ 1",
    "seeds": "list of whole numbers, ≥ 0",
    "workers": "whole number, ≥ 1",
}


def fields():
    """The table."""
    meanings = documented(CurveConfig)
    rows = ["| field | type | default | meaning |", "|---|---|---|---|"]
    for name, field in CurveConfig.model_fields.items():
        rows.append(f"| `{name}` | {_TYPES[name]} | {_default(name, field)} | {readable(meanings[name])} |")
    return "\n".join(rows) + "\n"


def _default(name, field):
    if name == "run":
        return "required"
    value = field.default
    if isinstance(value, tuple):
        return f"`[{', '.join('.inf' if each == float('inf') else str(each) for each in value)}]`"
    return "none" if value is None else f"`{value}`"


def page():
    """The text of docs/curve.md."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(_BEGIN)
    return f"{before}{_BEGIN}\n{fields()}\n{_END}{rest.split(_END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
