"""Trains the embedded model in four stages: labels, copies, few-shot prompts, and harder few-shot prompts.

Stages 1 and 2 show single demonstrations and teach what each convention answers, by naming it in an
instruction; copying is hard to find by chance and gets a stage with a larger share of it. Stage 3 teaches to
find the convention from demonstrations; stage 4 shows more of the maps that are hard to tell apart, and puts
prefixes in front of labels of any map, so that a prefix gives nothing away. No injected vector is ever seen in
training: that injection works afterwards is a finding, not a construction. Auxiliary heads (attributes at the
arrow, agreeing conventions at the end of a demonstration, kinds of tokens) speed training up and are thrown
away.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ifedpriv.embedded.conventions import all_conventions
from ifedpriv.embedded.words import ATTRIBUTES
from ifedpriv.errors import UserError
from ifedpriv.pretrain.corpus import KINDS, ConventionTable, Corpus, tabulate, write_corpus
from ifedpriv.pretrain.sequences import SequenceBatch, SequencePlan, make_batch
from ifedpriv.pretrain.tokenizer import train_tokenizer

CONTEXT = 2048


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that fixes the trained weights on one kind of machine.

    Attributes:
        seed: fixes corpus, tokenizer, initial weights and every batch.
        width, layers, heads, hidden: the Llama blocks.
        texts: size of the corpus.
        label_steps: steps of stage 1.
        copy_steps: steps of stage 2.
        fewshot_steps: steps of stage 3.
        hard_steps: steps of stage 4.
        rate: peak learning rate of AdamW.
        warmup: steps of linear warm-up.
    """

    seed: int = 0
    width: int = 128
    layers: int = 5
    heads: int = 4
    hidden: int = 344
    texts: int = 60_000
    label_steps: int = 3000
    copy_steps: int = 800
    fewshot_steps: int = 1300
    hard_steps: int = 600
    rate: float = 2e-3
    warmup: int = 100

    @property
    def steps(self) -> tuple[int, int, int, int]:
        """Steps of the four stages."""
        return self.label_steps, self.copy_steps, self.fewshot_steps, self.hard_steps


@dataclass(slots=True)
class Progress:
    """Where a training stands; saved with every checkpoint.

    Attributes:
        stage: 1 labels, 2 copies, 3 few-shot, 4 hard few-shot.
        step: steps done in this stage.
        seconds: wall time so far, of all processes that worked on it.
    """

    stage: int = 1
    step: int = 0
    seconds: float = 0.0


LABELS, COPIES, FEWSHOT, HARD = 1, 2, 3, 4

PLANS = {
    LABELS: SequencePlan(sequences=128, demonstrations=1, instructed=0.6, copying=0.12),
    COPIES: SequencePlan(sequences=128, demonstrations=1, instructed=0.6, copying=0.5),
    FEWSHOT: SequencePlan(sequences=32, demonstrations=9, instructed=0.25, copying=0.12),
    HARD: SequencePlan(
        sequences=32, demonstrations=9, instructed=0.15, copying=0.12, subset=0.5, rotated=0.35, prefixed=0.15
    ),
}
LONG_FEWSHOT = SequencePlan(sequences=9, demonstrations=33, instructed=0.1, copying=0.12)
LONG_EVERY = 6
HARD_RATE = 0.6
"""Stage 4 starts from a fresh, lower peak rate, as a share of the recipe's."""


class Heads(torch.nn.Module):
    """Linear read-outs that exist only while the model is trained."""

    def __init__(self, width: int, n_conventions: int) -> None:
        super().__init__()
        self.attributes = torch.nn.Linear(width, sum(len(table) for table in ATTRIBUTES.values()))
        self.agreement = torch.nn.Linear(width, n_conventions)
        self.kinds = torch.nn.Linear(width, len(KINDS))

    def attribute_loss(self, hidden: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of every attribute, summed over attributes; hidden ``[n, width]``."""
        parts = self.attributes(hidden).split([len(t) for t in ATTRIBUTES.values()], dim=1)
        return torch.stack([functional.cross_entropy(p, values[:, i]) for i, p in enumerate(parts)]).sum()

    def agreement_loss(self, hidden: torch.Tensor, agreeing: torch.Tensor) -> torch.Tensor:
        """Binary cross-entropy over all conventions, summed over conventions; hidden ``[2, n, width]``."""
        logits = self.agreement(hidden)
        loss = functional.binary_cross_entropy_with_logits(
            logits, agreeing.expand_as(logits), reduction="sum"
        )
        return loss / (hidden.shape[0] * hidden.shape[1])


class Training:
    """A training that can stop and go on at any step with the same result."""

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        self.recipe = recipe
        self.folder = folder
        self.progress = Progress()
        torch.manual_seed(recipe.seed)
        self.tokenizer: PreTrainedTokenizerFast = train_tokenizer(recipe.seed, CONTEXT)
        self.table: ConventionTable = tabulate(self.tokenizer, all_conventions())
        self.corpus: Corpus = write_corpus(self.tokenizer, recipe.texts, recipe.seed)
        self.model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(self.tokenizer),
                hidden_size=recipe.width,
                intermediate_size=recipe.hidden,
                num_hidden_layers=recipe.layers,
                num_attention_heads=recipe.heads,
                num_key_value_heads=recipe.heads,
                max_position_embeddings=CONTEXT,
                tie_word_embeddings=True,
                bos_token_id=self.tokenizer.bos_token_id,
                eos_token_id=self.tokenizer.eos_token_id,
                pad_token_id=self.tokenizer.pad_token_id,
            )
        )
        self.heads = Heads(recipe.width, len(self.table.conventions))
        self._parameters = [*self.model.parameters(), *self.heads.parameters()]
        self.optimizer = torch.optim.AdamW(
            self._parameters, lr=recipe.rate, betas=(0.9, 0.98), weight_decay=0.01
        )

    def run(
        self, report: Callable[[Progress, dict[str, float]], None], save_every: int = 100
    ) -> LlamaForCausalLM:
        """Train to the end, saving a checkpoint now and then; returns the model."""
        started = time.monotonic() - self.progress.seconds
        while not self._finished():
            losses = self.step()
            self.progress.seconds = time.monotonic() - started
            report(self.progress, losses)
            if self.progress.step % save_every == 0:
                self.save()
        self.save()
        return self.model

    def step(self) -> dict[str, float]:
        """One optimiser step; returns the losses by name."""
        p = self.progress
        batch = self._batch()
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate()
        losses = self._losses(batch)
        self.optimizer.zero_grad()
        losses["total"].backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self.optimizer.step()
        p.step += 1
        if p.stage < HARD and p.step >= self.recipe.steps[p.stage - 1]:
            p.stage, p.step = p.stage + 1, 0
        return {name: float(value.detach()) for name, value in losses.items()}

    def _finished(self) -> bool:
        return self.progress.stage == HARD and self.progress.step >= self.recipe.hard_steps

    def _batch(self) -> SequenceBatch:
        p = self.progress
        long = p.stage == FEWSHOT and p.step % LONG_EVERY == LONG_EVERY - 1
        plan = LONG_FEWSHOT if long else PLANS[p.stage]
        separator = self.tokenizer.encode("\n", add_special_tokens=False)[0]
        seed = [self.recipe.seed, 2, p.stage, p.step]
        return make_batch(
            self.corpus,
            self.table,
            plan,
            bos=int(self.tokenizer.bos_token_id),
            separator=separator,
            seed=seed,
        )

    def _rate(self) -> float:
        p, recipe = self.progress, self.recipe
        if p.stage < FEWSHOT:
            return recipe.rate * (min(1.0, (p.step + 1) / recipe.warmup) if p.stage == LABELS else 1.0)
        done = p.step / recipe.steps[p.stage - 1]
        peak = recipe.rate * (HARD_RATE if p.stage == HARD else 1.0)
        return peak * (1.0 if done < 0.6 else 1.0 - 0.97 * (done - 0.6) / 0.4)

    def _losses(self, batch: SequenceBatch) -> dict[str, torch.Tensor]:
        p = self.progress
        hidden = self.model.model(input_ids=batch.ids, use_cache=False).last_hidden_state
        flat = hidden.reshape(-1, hidden.shape[-1])
        embedding = self.model.lm_head.weight
        answer = functional.cross_entropy(
            flat[batch.answer_at] @ embedding.T, batch.answer_token, reduction="none"
        )
        told, word = batch.answer_told, batch.answer_word
        losses = {"answer": answer[word].mean()}
        for name, chosen in (("told labels", ~batch.answer_copied), ("told copies", batch.answer_copied)):
            if bool((word & told & chosen).any()):
                losses[name] = answer[word & told & chosen].mean()
        generator = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + p.stage * 500_009 + p.step)
        some = batch.real[torch.randint(len(batch.real), (200,), generator=generator)]
        following = batch.ids.reshape(-1)[some + 1]
        losses["text"] = functional.cross_entropy(flat[some] @ embedding.T, following)
        total = answer.mean() + 0.05 * losses["text"]
        auxiliary = p.stage < FEWSHOT or p.step < 0.7 * self.recipe.steps[p.stage - 1]
        if auxiliary:
            losses["attributes"] = self.heads.attribute_loss(flat[batch.arrow_at], batch.values)
            losses["agreement"] = self.heads.agreement_loss(flat[batch.end_at], batch.agreeing)
            total = (
                total
                + (0.3 if p.stage < FEWSHOT else 0.1) * losses["attributes"]
                + 0.05 * losses["agreement"]
            )
        if p.stage < FEWSHOT:
            known = (batch.kinds >= 0).reshape(-1)
            losses["kinds"] = functional.cross_entropy(
                self.heads.kinds(flat[known]), batch.kinds.reshape(-1)[known]
            )
            total = total + 0.5 * losses["kinds"]
        losses["total"] = total
        return losses

    def save(self) -> None:
        """Write a checkpoint; an interrupted write leaves the older one in place."""
        self.folder.mkdir(parents=True, exist_ok=True)
        tensors = {f"model.{n}": t for n, t in self.model.named_parameters()}
        tensors |= {f"heads.{n}": t for n, t in self.heads.named_parameters()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{index}.{n}": t for n, t in state.items()}
        partial = self.folder / "training.partial"
        meta = {"progress": json.dumps(asdict(self.progress)), "recipe": json.dumps(asdict(self.recipe))}
        save_file({n: t.detach().contiguous() for n, t in tensors.items()}, partial, metadata=meta)
        partial.replace(self.folder / "training.safetensors")

    def resume(self) -> bool:
        """Go on from the folder's checkpoint, if there is one."""
        path = self.folder / "training.safetensors"
        if not path.exists():
            return False
        try:
            with safe_open(path, "pt") as file:
                meta = file.metadata()
            tensors = load_file(path)
        except (SafetensorError, OSError) as error:
            raise UserError(
                f"pretrain checkpoint {path} cannot be read ({type(error).__name__})",
                "delete it to train from the beginning",
            ) from error
        if json.loads(meta["recipe"]) != asdict(self.recipe):
            raise UserError(
                f"pretrain folder {self.folder} holds a training with another recipe",
                "give --out another folder, or delete this one",
            )
        self.progress = Progress(**json.loads(meta["progress"]))
        for prefix, module in (("model.", self.model), ("heads.", self.heads)):
            for name, parameter in module.named_parameters():
                parameter.data.copy_(tensors[prefix + name])
        state = self.optimizer.state_dict()
        state["state"] = {}
        for name, tensor in tensors.items():
            if name.startswith("adam."):
                _, index, field = name.split(".", 2)
                state["state"].setdefault(int(index), {})[field] = tensor
        self.optimizer.load_state_dict(state)
        return True
