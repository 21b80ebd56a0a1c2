"""What is wrong with a configuration, as one sentence that names the field.

The one invariant: a tag that tells kinds apart is no part of a field's name.
"""

from __future__ import annotations

from collections.abc import Collection

from pydantic import ValidationError


def mistake(error: ValidationError, source: str, more: Collection[str] = ()) -> str:
    """The first mistake that validation found, as one sentence with its field's path.

    Args:
        error: what validation raised.
        source: names the whole where no field is to blame.
        more: further tags that stand in the path and are no fields.
    """
    first = error.errors()[0]
    tags = {
        "ifed_icl",
        "fed_lora",
        "ficpd",
        "prototype_icl",
        "embedded",
        "files",
        "hub",
        "preset",
        "iid",
        "dirichlet",
        "pathological",
    }
    tags |= {"attribute", "contradictory", "none", "masked", "ckks", "bfv", "rows", "flat", *more}
    parts = [str(part) for part in first["loc"] if str(part) not in tags]
    field = ".".join(parts) or source
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        return f"{field} is not a field of the configuration; remove it or mend its spelling"
    if first["type"] == "value_error":
        return message if parts == [] else f"{field}: {message}"
    if first["type"] == "union_tag_invalid":
        tag = first["ctx"]["discriminator"].strip("'")
        return f"{field}.{tag} is {first['ctx']['tag']!r}; use one of {first['ctx']['expected_tags']}"
    shown = repr(first.get("input"))
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    return f"{field} is {shown}: {message[0].lower()}{message[1:]}"
