"""What an encrypted sum costs: python benchmarks/homomorphic.py [--repeats N] [--out NAME].

262,144 numbers, LLaMA-3-8B's context vector, under our parameters and under the usual ones (CKKS, degree 8192,
primes of 60, 40, 40 and 60 bits, scale 2^40, public key), which leave room for multiplications that a sum does not
need. Every repeat runs all variants in a fresh random order in one process, so that a change of the machine's speed
meets all alike; the ratios are formed within a repeat. The error is that of a mean over 64 clients, against the same
mean in float64, relative to the clip; ours contains the rounding to the grid, at the bits that the variant names.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from _shared import machine, median_interval, print_machine, store

from defenses import BfvSpec, CkksSpec, Defense, Layout, RoundInfo, SecureEntropy, Upload, UploadKind
from defenses.secagg.homomorphic.ciphertext import Coefficients, add, pack, unpack
from defenses.secagg.homomorphic.engine import Engine, tenseal
from defenses.secagg.homomorphic.keys import KEY_HOLDER, HolderKeys
from defenses.secagg.homomorphic.parameters import TABLE, Scheme
from defenses.secagg.homomorphic.parties import Parties

NUMBERS = 262_144
CLIENTS = 64
CLIP = 8.0
STEPS = ("encrypt", "serialise", "load", "add", "decrypt")
Floats = npt.NDArray[np.float64]


class Usual:
    """TenSEAL by the parameters that its tutorials and most deployments use."""

    def __init__(self) -> None:
        self.ts = tenseal()
        scheme, primes = self.ts.SCHEME_TYPE.CKKS, [60, 40, 40, 60]
        self.context = self.ts.context(scheme, 8192, -1, primes, n_threads=1)
        self.context.global_scale = 2.0**40
        self.slots = 4096

    def encrypt(self, numbers: Floats) -> list[Any]:
        """One ciphertext for each 4096 numbers."""
        parts = range(0, len(numbers), self.slots)
        return [self.ts.ckks_vector(self.context, numbers[at : at + self.slots].tolist()) for at in parts]

    def dump(self, vector: Any) -> bytes:
        """A ciphertext's bytes."""
        whole: bytes = vector.serialize()
        return whole

    def load(self, data: bytes) -> Any:
        """A ciphertext from its bytes."""
        return self.ts.ckks_vector_from(self.context, data)

    def add(self, total: Any, other: Any) -> None:
        """In place."""
        total.add_(other)

    def decrypt(self, vectors: list[Any]) -> Floats:
        """All numbers."""
        return np.concatenate([np.asarray(vector.decrypt()) for vector in vectors])

    def error(self) -> float:
        """Of a mean over 64 clients, relative to the clip, on one ciphertext."""
        rng = np.random.default_rng(0)
        uploads = rng.uniform(-CLIP, CLIP, size=(CLIENTS, self.slots)).astype(np.float32).astype(np.float64)
        total = self.encrypt(uploads[0])[0]
        for upload in uploads[1:]:
            self.add(total, self.encrypt(upload)[0])
        return float(np.abs(self.decrypt([total]) / CLIENTS - uploads.mean(axis=0)).max() / CLIP)


class Ours:
    """Whole numbers on the grid under one row of our table."""

    def __init__(self, scheme: Scheme, encryption: Any, bits: int) -> None:
        kind = CkksSpec if scheme is Scheme.CKKS else BfvSpec
        grid = {"bits": bits, "max_weight": 4, "clip": {"vector": CLIP}}
        self.spec = kind.model_validate({"kind": str(scheme), "encryption": encryption, "grid": grid})
        self.keys = HolderKeys.generate(scheme, SecureEntropy(), encryption=encryption)
        self.row = TABLE[scheme]
        self.client, self.holder = Engine(self.row, self.keys.encrypts), self.keys.engine()

    def encrypt(self, numbers: Floats) -> list[Any]:
        """The numbers as integers of 20 bits, with room for weight and tags."""
        whole = np.zeros(len(numbers) + 1 + self.row.check_slots, dtype=np.int64)
        whole[: len(numbers)] = np.rint(numbers * (2**19 / CLIP))
        return self.client.encrypt_vectors(whole)

    def dump(self, vector: Any) -> bytes:
        """A ciphertext's bytes."""
        return self.client.dump(vector)

    def load(self, data: bytes) -> Coefficients:
        """A ciphertext from its bytes, checked, as the server does it."""
        return unpack(data, self.row)

    def add(self, total: Coefficients, other: Coefficients) -> None:
        """In place."""
        add(total, other, self.row)

    def decrypt(self, totals: list[Coefficients]) -> npt.NDArray[np.int64]:
        """All whole numbers, from what the server would send."""
        return self.holder.decrypt([self.holder.load(pack(total, self.row)) for total in totals])

    def error(self) -> float:
        """Of a mean over 64 clients of weight 4, relative to the clip, through the sessions."""
        size = 2000
        info = RoundInfo(0, UploadKind.VECTOR, tuple(range(CLIENTS)), Layout.of({"v": (size,)}))
        defense = Defense(self.spec, Parties(self.spec, self.keys))
        server, truth, out = defense.server(info), np.zeros(size), {}
        for client in info.roster:
            values = np.random.default_rng(client).uniform(-CLIP, CLIP, size).astype(np.float32)
            truth += values.astype(np.float64) / CLIENTS
            upload = Upload({"v": values}, 4, 0, info.kind)
            (frame,) = defense.client(client, info, SecureEntropy()).protect(upload)
            out = server.receive(client, frame)
        server.receive(KEY_HOLDER, defense.helpers(info)[KEY_HOLDER].receive(out[KEY_HOLDER][0])[0])
        return float(np.abs(server.aggregate().means["v"] - truth).max() / CLIP)

    def session(self) -> dict[str, float]:
        """Processor milliseconds of whole sessions, and the upload's bytes: everything included."""
        info = RoundInfo(0, UploadKind.VECTOR, (0, 1, 2), Layout.of({"vector": (32, 2, 4096)}))
        defense = Defense(self.spec, Parties(self.spec, self.keys))
        rng, server = np.random.default_rng(1), defense.server(info)
        found: dict[str, float] = {}
        for client in info.roster:
            upload = Upload({"vector": rng.normal(size=(32, 2, 4096)).astype(np.float32)}, 4, 0, info.kind)
            session = defense.client(client, info, SecureEntropy())
            found["client_ms"], (frame,) = timed(session.protect, upload)
            found["server_ms_a_client"], out = timed(server.receive, client, frame)
            found["upload_bytes"] = len(frame)
        holder = defense.helpers(info)[KEY_HOLDER]
        found["key_holder_ms"], (opening,) = timed(holder.receive, out[KEY_HOLDER][0])
        found["opening_bytes"] = len(opening)
        return found


def timed(work: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """Processor milliseconds of a call, and what it gave."""
    before = time.process_time()
    result = work(*arguments)
    return (time.process_time() - before) * 1e3, result


def once(variant: Usual | Ours, numbers: Floats) -> dict[str, float]:
    """Processor milliseconds of each step for one upload, and its bytes."""
    found: dict[str, float] = {}
    found["encrypt"], vectors = timed(variant.encrypt, numbers)
    found["serialise"], data = timed(lambda: [variant.dump(vector) for vector in vectors])
    found["load"], others = timed(lambda: [variant.load(part) for part in data])
    totals = [variant.load(part) for part in data]
    pairs = list(zip(totals, others, strict=True))
    found["add"], _ = timed(lambda: [variant.add(total, other) for total, other in pairs])
    found["decrypt"], result = timed(variant.decrypt, totals)
    found["bytes"] = sum(map(len, data))
    scale = 2**19 / CLIP if isinstance(variant, Ours) else 1.0
    assert np.abs(result[: len(numbers)] / (2 * scale) - numbers).max() < CLIP / 2**19
    return found


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", default="homomorphic")
    options = parser.parse_args()
    facts = machine(1)
    facts["tenseal"] = tenseal().__version__
    print_machine(facts)
    variants: dict[str, Usual | Ours] = {"usual": Usual()}
    for scheme, bits in ((Scheme.CKKS, 23), (Scheme.BFV, 24)):
        for encryption in ("public", "symmetric"):
            variants[f"{scheme} {encryption}"] = Ours(scheme, encryption, bits)
    rng = np.random.default_rng(0)
    numbers = np.clip(rng.normal(size=NUMBERS), -CLIP, CLIP)
    for variant in variants.values():
        once(variant, numbers[:8192])
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in variants}
    for _ in range(options.repeats):
        for name in rng.permutation(list(variants)):
            runs[str(name)].append(once(variants[str(name)], numbers))
    rows = []
    for name, variant in variants.items():
        row: dict[str, Any] = {"variant": name, "bytes": max(run["bytes"] for run in runs[name])}
        row |= {step: median_interval([run[step] for run in runs[name]]) for step in STEPS}
        row["encrypt_over_usual"] = median_interval(
            [run["encrypt"] / usual["encrypt"] for run, usual in zip(runs[name], runs["usual"], strict=True)]
        )
        row["relative_error"] = variant.error()
        if isinstance(variant, Ours):
            row["grid_bits"] = variant.spec.grid.bits
            row["session"] = variant.session()
        rows.append(row)
    print(
        f"{'':16}{'MB':>7}"
        + "".join(f"{step:>11}" for step in STEPS)
        + f"{'enc/usual':>11}{'error/clip':>12}"
    )
    for row in rows:
        times = "".join(f"{row[step]['median']:11.1f}" for step in STEPS)
        ratio, error = row["encrypt_over_usual"]["median"], row["relative_error"]
        print(f"{row['variant']:16}{row['bytes'] / 1e6:7.2f}{times}{ratio:11.2f}{error:12.1e}")
    for row in rows[1:]:
        print(row["variant"], {name: round(value, 1) for name, value in row["session"].items()})
    path = store(
        options.out,
        {"machine": facts, "numbers": NUMBERS, "repeats": options.repeats, "rows": rows, "runs": runs},
    )
    print(f"written to {path}")


if __name__ == "__main__":
    main()
