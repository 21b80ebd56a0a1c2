"""Writes docs/configuration.md and docs/config.schema.json from the specs themselves:

PYTHONPATH=. python tests/_support/configuration_page.py

Meanings come from the `Attributes` of the specs' docstrings, types and defaults from their JSON Schema, so that
the page cannot say anything else than the code. `tests/house/test_configuration_page.py` holds both files to it.
"""

import inspect
import json
import re
import textwrap
from pathlib import Path

from pydantic import BaseModel

from defenses import compression_specs as compression
from defenses import privacy_specs as privacy
from defenses import specs as defenses
from ifedpriv import config
from ifedpriv.data import specs as data
from ifedpriv.federation.cohort import CohortSpec
from ifedpriv.methods.ficpd_specs import FicpdSpec, MetaSpec, TuningSpec
from ifedpriv.methods.specs import (
    CalibrationSpec,
    ClustersSpec,
    FedLoraSpec,
    IclSpec,
    IfedIclSpec,
    PrototypeIclSpec,
)

DOCS = Path(__file__).parents[2] / "docs"
PAGE, SCHEMA = DOCS / "configuration.md", DOCS / "config.schema.json"
TAGS = ("kind", "source")

INTRODUCTION = """\
# Configuration

`ifedpriv run CONFIG` reads one YAML file. Every field has a default, and without a file the defaults are run: they
are the quickstart, written out in [quickstart.yaml](../configs/quickstart.yaml).

- **YAML 1.2.** `1e-5` is a number and `off` is text. Older readers take them for a text and a truth value.
- **`extends: other.yaml`** starts from another file, found beside this one. Sections are merged field by field; a
  section whose `kind` or `source` changes is replaced whole. `data`, `partition` and `method` must name theirs.
- **`--set section.field=value`** changes one value, as often as you like, in order. The value is read as YAML.
- **A mistake is one sentence** with the field's path, the value and the remedy, and exit code 2. An unknown field is a
  mistake, so a misspelt option never turns into a default. Nothing is written before the configuration, the model
  and the data have been found good.
- **Editors** can complete with the JSON Schema in [config.schema.json](config.schema.json). Rules that join two fields
  are checked by the program alone.
- The run's folder keeps the configuration as it was resolved; feeding that file back repeats the run. The environment
  variable `IFEDPRIV_DATA` is not in it.

[data.md](data.md) shows every kind of `data` and `partition` at work. This page is made from the specs by
`tests/_support/configuration_page.py`; do not edit it by hand.
"""

# Title, remark, and the classes of the section, each with what stands in front of its fields' names.
SECTIONS = (
    ("The top level", "", (("", config.RunConfig),)),
    (
        "`backbone`",
        "Which models work, and how that is proved: [backbones.md](backbones.md).",
        (("", config.BackboneSection),),
    ),
    (
        "`data`",
        "`ifedpriv run` trains on train, reports on test, and reads no validation split: clients hold out their own "
        "examples (`evaluation.validation_fraction`). Validation texts are only kept out of train.",
        (
            ("embedded", data.EmbeddedData),
            ("preset", data.PresetData),
            ("files", data.FileData),
            ("hub", data.HubData),
            ("files, hub", data._Wording),
            ("not embedded", data._Sizes),
        ),
    ),
    (
        "`partition`",
        "",
        (
            ("any", data._Partition),
            ("iid", data.IidPartition),
            ("dirichlet", data.DirichletPartition),
            ("pathological", data.PathologicalPartition),
            ("attribute", data.AttributePartition),
            ("contradictory", data.ContradictoryPartition),
        ),
    ),
    (
        "`method` with `kind: ifed_icl`",
        "Equation by equation: [method.md](method.md).",
        (("", IclSpec), ("", IfedIclSpec), ("calibration.", CalibrationSpec)),
    ),
    (
        "`method` with `kind: prototype_icl`",
        "All of the above but `aggregation`, and: [prototypes.md](prototypes.md).",
        (("", PrototypeIclSpec), ("clusters.", ClustersSpec)),
    ),
    (
        "`method` with `kind: fed_lora`",
        "Needs the extra `lora`. There is no guard.",
        (("", FedLoraSpec),),
    ),
    (
        "`method` with `kind: ficpd`",
        "What it does, and what leaves a client: [ficpd.md](ficpd.md). There is no guard.",
        (("", FicpdSpec), ("tuning.", TuningSpec), ("meta.", MetaSpec)),
    ),
    ("`cohort`", "", (("", CohortSpec),)),
    (
        "`defense`",
        "What each kind means for privacy: [privacy.md](privacy.md).",
        (
            ("any", defenses._Defense),
            ("none", defenses.ClearSpec),
            ("masked", defenses.MaskedSpec),
            ("ckks, bfv", defenses._Homomorphic),
            ("ckks", defenses.CkksSpec),
            ("bfv", defenses.BfvSpec),
        ),
    ),
    (
        "`defense.compression`",
        "What it saves, and what it does not hide: [ficpd.md](ficpd.md).",
        (
            ("any", compression._Compression),
            ("rows", compression.RowsCompression),
            ("flat", compression.FlatCompression),
        ),
    ),
    ("`defense.wire`", "The bytes: [wire.md](wire.md).", (("", defenses.WireSpec),)),
    (
        "`defense.privacy`",
        "What is promised, and how it is done: [privacy.md](privacy.md).",
        (
            ("", privacy.PrivacySpec),
            ("vector.", privacy.VectorPrivacy),
            ("grid.", privacy.GridPrivacy),
            ("coefficients.", privacy.CoefficientPrivacy),
            ("scores.", privacy.ScorePrivacy),
            ("prompts.", privacy.PromptPrivacy),
            ("counts.", privacy.CountPrivacy),
            ("public.", privacy.PublicSpec),
        ),
    ),
    ("`defense.grid`", "", (("", defenses.GridSpec), ("clip.", defenses.ClipsSpec))),
    ("`evaluation`", "", (("", config.EvaluationSection),)),
    (
        "`controls`",
        "How to read them: [controls.md](controls.md).",
        (("", config.ControlsSection),),
    ),
    (
        "`pin`",
        "What this end insists on, so that a server that chooses the template is refused: "
        "[cheating_server.md](cheating_server.md). Both are left out by default.",
        (("", config.PinSection),),
    ),
)


def documented(model):
    """Field name to meaning, from the `Attributes` of a class and of those it inherits from."""
    meanings = {}
    for cls in reversed(model.__mro__):
        doc = inspect.cleandoc(cls.__doc__ or "")
        if cls is BaseModel or "Attributes:\n" not in doc:
            continue
        block = textwrap.dedent(doc.split("Attributes:\n", 1)[1])
        entries = re.findall(r"^(\w+): (.*(?:\n +.*)*)", block, re.M)
        meanings |= {name: " ".join(text.split()) for name, text in entries}
        for first, text in entries:
            # "name: the meaning; likewise this and that" speaks for several fields.
            for field in re.findall(r"\w+", text.partition("likewise")[2]):
                if field in model.model_fields:
                    meanings.setdefault(field, f"as `{first}`.")
    return meanings


def summary(model):
    """The docstring's first paragraph."""
    return " ".join(inspect.cleandoc(model.__doc__).split("\n\n")[0].split())


def readable(text):
    """Docstring marks as Markdown's."""
    return text.replace("``", "`")


def own_fields(model):
    """Fields of a class that its parents do not have."""
    inherited = {f for base in model.__mro__[1:] for f in getattr(base, "model_fields", {})}
    return [name for name in model.model_fields if name not in inherited]


def schema():
    """The configuration's JSON Schema, with every field's meaning."""
    result = config.RunConfig.model_json_schema()
    result = {"$schema": "https://json-schema.org/draft/2020-12/schema", **result}
    for model in models(config.RunConfig):
        part = result if model is config.RunConfig else result["$defs"][model.__name__]
        part["description"] = summary(model)
        for field, meaning in documented(model).items():
            if field in part["properties"]:
                part["properties"][field]["description"] = readable(meaning)
    extends = {"type": "string", "description": "a configuration to start from, found beside this one."}
    result["properties"]["extends"] = extends
    return result


def models(*roots):
    """The classes that a configuration is made of."""
    found = dict.fromkeys(roots)
    for root in roots:
        for field in root.model_fields.values():
            found.update(dict.fromkeys(models(*classes_in(field.annotation))))
    return list(found)


def classes_in(annotation):
    """The pydantic classes in a type annotation."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    parts = getattr(annotation, "__args__", ())
    return [cls for part in parts for cls in classes_in(part)]


def type_words(part, definitions):
    """A field's JSON Schema in words."""
    if "$ref" in part:
        target = definitions[part["$ref"].rsplit("/", 1)[1]]
        return type_words(target, definitions) if "enum" in target else "section"
    if "anyOf" in part:
        return " or ".join(type_words(each, definitions) for each in part["anyOf"])
    if "oneOf" in part:
        return "section"
    if part.get("type") == "null":
        return "nothing"
    if "const" in part:
        return f"`{part['const']}`"
    if "enum" in part:
        return ", ".join(f"`{value}`" for value in part["enum"])
    if part["type"] == "array":
        return "list of texts"
    names = {
        "integer": "whole number",
        "number": "number",
        "string": "text",
        "boolean": "true, false",
        "object": "name to number",
    }
    words = names.get(part["type"], part["type"])
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {part[key]:g}" for key, sign in signs.items() if key in part]
    return ", ".join([words, *bounds])


def default_words(field):
    """A field's default, as it would stand in YAML."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        tag = next((getattr(value, tag) for tag in TAGS if hasattr(value, tag)), None)
        return "below" if tag is None else f"`{tag}`, below"
    if isinstance(value, tuple):
        return f"`[{', '.join(value)}]`"
    return f"`{json.dumps(value)}`"


def rows(model, prefix):
    """The table's cells for one class: name, type, default, meaning."""
    whole, meanings = model.model_json_schema(), documented(model)
    missing = [name for name in own_fields(model) if name not in (*meanings, *TAGS)]
    if missing:
        raise SystemExit(f"{model.__name__} has no line under Attributes for {', '.join(missing)}")
    result = []
    for name in own_fields(model):
        part = whole["properties"][name]
        if name in TAGS and "const" in part:
            continue
        meaning = readable(meanings[name]).replace("|", "\\|")
        words = type_words(part, whole.get("$defs", {}))
        result.append([f"`{prefix}{name}`", words, default_words(model.model_fields[name]), meaning])
    return result


def section(title, remark, classes):
    """The lines of one section."""
    lines = [f"## {title}", ""]
    several = len(classes) > 1 and not classes[-1][0].endswith(".")
    first = classes[0][1]
    said = "" if several or first is config.RunConfig or first.__name__.startswith("_") else summary(first)
    if said or remark:
        lines += [*textwrap.wrap(readable(f"{said} {remark}".strip()), 120, break_on_hyphens=False), ""]
    if several:
        lines += [
            readable(f"- `{tag}`: {summary(cls)}") for tag, cls in classes if not cls.__name__.startswith("_")
        ]
        lines.append("")
    head = ["field", "type", "default", "meaning"]
    cells = [
        [*([tag] if several else []), *row]
        for tag, cls in classes
        for row in rows(cls, "" if several else tag)
    ]
    if several:
        head.insert(0, "source" if title == "`data`" else "kind")
    lines += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in cells), ""]


def page():
    """The text of docs/configuration.md."""
    lines = [INTRODUCTION]
    for title, remark, classes in SECTIONS:
        lines += section(title, remark, classes)
    return "\n".join(lines).rstrip() + "\n"


def schema_text():
    """The text of docs/config.schema.json."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    SCHEMA.write_text(schema_text(), encoding="utf-8")
