"""docs/secure_aggregation.md says what the code and the measurement say."""

import itertools
import json
import struct
from pathlib import Path

from defenses.secagg.homomorphic import messages
from defenses.secagg.homomorphic.ciphertext import ciphertext_bytes
from defenses.secagg.homomorphic.keys import KEY_HOLDER
from defenses.secagg.homomorphic.parameters import TABLE, Scheme

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs" / "secure_aggregation.md").read_text(encoding="utf-8")
TYPES = {"2s": "bytes", "8s": "bytes", "B": "u8", "H": "u16", "I": "u32"}


def rows(start):
    """The cells of the table that begins after ``start``."""
    lines = PAGE[PAGE.index(start) :].splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("|")) + 2
    table = itertools.takewhile(lambda line: line.startswith("|"), lines[first:])
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_header():
    expected, at = [], 0
    for name, code in messages.HEADER_FIELDS:
        size = struct.calcsize("<" + code)
        expected.append([str(at), str(size), TYPES[code], name])
        at += size
    assert [row[:4] for row in rows("<!-- header -->")] == expected
    assert at == messages.HEADER_SIZE and f"a header of {at} bytes" in PAGE
    assert f"`{messages.MAGIC.hex(' ')}`" in PAGE and PAGE.count(str(KEY_HOLDER)) == 2


def test_parameters():
    assert len(rows("## Parameters")) == len(TABLE)
    for scheme, degree, primes, prime, slots, capacity, security in rows("## Parameters"):
        row = TABLE[Scheme(scheme)]
        assert prime == f"{row.prime:,}"
        assert (int(degree), primes) == (row.degree, ", ".join(map(str, row.prime_bits)))
        assert (slots, capacity) == (str(row.slots), f"{row.capacity:,}")
        assert security == f"{row.security_bits} bits"


def test_ciphertexts():
    sizes = [f"{ciphertext_bytes(TABLE[scheme]):,}" for scheme in (Scheme.BFV, Scheme.CKKS)]
    assert f"{sizes[0]} bytes\nor {sizes[1]}" in PAGE
    bits = [TABLE[scheme].prime_bits[0] for scheme in (Scheme.BFV, Scheme.CKKS)]
    assert f"(b is {bits[0]} for bfv, {bits[1]} for ckks)" in PAGE


def measured():
    """The table of what was measured, from its file."""
    data = json.loads((ROOT / "benchmarks" / "results" / "homomorphic.json").read_text(encoding="utf-8"))
    lines = []
    for row in data["rows"]:
        load = row["load"]["median"] + row["add"]["median"]
        times = [row["encrypt"]["median"], row["serialise"]["median"], load, row["decrypt"]["median"]]
        encrypt, serialise, load, decrypt = (f"{number:.0f}" for number in times)
        ratio, error = f"{row['encrypt_over_usual']['median']:.2f}", f"{row['relative_error']:.1e}"
        cells = [row["variant"], f"{row['bytes'] / 1e6:.2f}", encrypt, ratio, serialise, load, decrypt, error]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def test_measured_table_is_the_file():
    assert ["| " + " | ".join(row) + " |" for row in rows("<!-- measured -->")] == measured()


def test_bytes_are_within_what_was_aimed_for():
    sizes = {row[0]: float(row[1]) for row in rows("<!-- measured -->")}
    assert sizes["ckks public"] <= 7.9 and sizes["bfv public"] <= 4
    for size in ("3.19", "6.87"):
        assert f"{size} MB" in PAGE and float(size) in sizes.values()


def test_the_code_on_the_page_runs():
    code = PAGE[PAGE.index("```python\n") + 10 :]
    names = {}
    exec(code[: code.index("```")], names)
    assert names["at_client_3"].enrolment.spec == names["at_the_server"].enrolment.spec
