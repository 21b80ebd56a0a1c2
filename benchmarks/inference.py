"""What an injection costs at inference: the folded checkpoint and the hooks against the plain model.

    python benchmarks/inference.py [--repeats 41]

On the embedded model and on a larger Llama with random weights. Every repeat measures all variants in a fresh
random order and takes ratios to the plain model *of the same repeat*; printed is the median of the ratios with its
distribution-free 95% interval. *plain again* is the plain model measured a second time: what it differs from
1.00 is the noise that no other row can be read below. Times are processor time.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
from _shared import child, machine, median_interval, print_machine, store

THREADS = 1
REPEATS = 41
SECONDS = 0.15
"""A variant is run until about this much processor time has passed, so that the clock's grain does not show."""


class Size(NamedTuple):
    """How much a variant has to do: rows and tokens of a forward pass, and tokens of a decoding."""

    rows: int
    length: int
    new: int


MODELS = {
    "embedded": Size(rows=8, length=64, new=24),
    "llama, 8 layers, width 512, random weights": Size(rows=4, length=64, new=8),
}
VARIANTS = ("plain again", "folded", "hooks")


def build(name: str) -> Any:
    """A backbone; the larger one borrows the embedded tokenizer and has random weights from seed 0."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from ifedpriv.backbone.backbone import Backbone
    from ifedpriv.embedded import MODEL_PATH

    embedded = Backbone.load(MODEL_PATH)
    if name == "embedded":
        return embedded
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=embedded.head.weight.shape[0],
        hidden_size=512,
        intermediate_size=1376,
        num_hidden_layers=8,
        num_attention_heads=8,
        num_key_value_heads=8,
        max_position_embeddings=512,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return Backbone.wrap(LlamaForCausalLM(config), embedded.tokenizer)


def measure(name: str, repeats: int) -> dict[str, Any]:
    """Ratios to the plain model for a forward pass and for a decoding of several tokens with the cache."""
    import torch
    from transformers import AutoModelForCausalLM

    from ifedpriv.backbone.fold import fold_into, save_folded
    from ifedpriv.backbone.hooks import inject

    torch.set_num_threads(THREADS)
    backbone = build(name)
    draw = torch.Generator().manual_seed(1)
    vector = torch.randn((backbone.n_layers, 2, backbone.width), generator=draw) * 0.1
    coefficients = 1 + 0.1 * torch.randn((backbone.n_layers, 2, 2), generator=draw)
    with tempfile.TemporaryDirectory() as folder:
        save_folded(fold_into(backbone, vector, coefficients), backbone.tokenizer, folder)
        folded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    rows, length, new = MODELS[name]
    ids = torch.randint(3, backbone.head.weight.shape[0], (rows, length), generator=draw)

    def forward(model: Any) -> Callable[[], Any]:
        return lambda: model(input_ids=ids, use_cache=False)

    def decode(model: Any) -> Callable[[], Any]:
        return lambda: model.generate(
            input_ids=ids[:1],
            attention_mask=torch.ones_like(ids[:1]),
            max_new_tokens=new,
            min_new_tokens=new,
            do_sample=False,
        )

    # As the plain checkpoint is loaded: without the gradient flags that a frozen backbone has.
    folded.requires_grad_(False)
    result: dict[str, Any] = {"parameters": sum(p.numel() for p in backbone.model.parameters())}
    with torch.inference_mode():
        with inject(backbone, vector, coefficients):
            hooked = backbone.model(input_ids=ids).logits
        result["largest_difference_folded_hooks"] = float((folded(input_ids=ids).logits - hooked).abs().max())
        for what, job in (("forward", forward), ("decode", decode)):
            runs = {
                "plain": (job(backbone.model), False),
                "plain again": (job(backbone.model), False),
                "folded": (job(folded), False),
                "hooks": (job(backbone.model), True),
            }
            count = _calibrate(runs["plain"][0])
            order = np.random.default_rng(0)
            ratios: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
            base = []
            for _ in range(repeats):
                times: dict[str, float] = {}
                for variant in order.permutation(list(runs)):
                    run, hooks = runs[str(variant)]
                    with inject(backbone, vector, coefficients) if hooks else nullcontext():
                        times[str(variant)] = _time(run, count)
                base.append(times["plain"])
                for variant in VARIANTS:
                    ratios[variant].append(times[variant] / times["plain"])
            result[what] = {
                "plain_seconds": float(np.median(base)),
                "runs_per_measurement": count,
                "ratios": {variant: median_interval(found) for variant, found in ratios.items()},
            }
    return result


def _calibrate(run: Callable[[], Any]) -> int:
    run()
    return max(1, round(SECONDS / max(_time(run, 2), 1e-4)))


def _time(run: Callable[[], Any], count: int) -> float:
    started = time.process_time()
    for _ in range(count):
        run()
    return (time.process_time() - started) / count


def report(result: dict[str, Any]) -> None:
    """The table on standard output."""
    print_machine(result["machine"])
    print(
        f"{result['repeats']} interleaved repeats; ratio of processor time to the plain model's, median [95%]\n"
    )
    for name, found in result["models"].items():
        print(f"{name}: {found['parameters'] / 1e6:.1f} M parameters, load {found['load']}")
        difference = found["largest_difference_folded_hooks"]
        print(f"  folded against hooks: largest difference of a logit {difference:.1e}")
        for what in ("forward", "decode"):
            rows, length, new = MODELS[name]
            job = (
                f"forward pass of {rows} x {length} tokens"
                if what == "forward"
                else f"{new} new tokens after {length}, with the cache"
            )
            print(f"  {job}, plain {1000 * found[what]['plain_seconds']:.2f} ms")
            for variant, r in found[what]["ratios"].items():
                print(f"    {variant:<12} {r['median']:.3f} [{r['low']:.3f}, {r['high']:.3f}]")


def main() -> None:
    """Measure each model in a process of its own, print, store."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=REPEATS, help="interleaved measurements")
    parser.add_argument("--child", metavar="MODEL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.child, options.repeats)))
        return
    facts = machine(THREADS)
    models = {
        name: child(__file__, ["--repeats", str(options.repeats), "--child", name], THREADS)
        for name in MODELS
    }
    result = {"machine": facts, "repeats": options.repeats, "models": models}
    store("inference", result)
    report(result)


if __name__ == "__main__":
    main()
