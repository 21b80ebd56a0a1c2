"""Measures one point of a curve after the other, and keeps what they share.

The invariant: a point's numbers are those of its own run, whatever was measured before it. What is kept (model, texts,
tokens, activations, public coordinates, and the vectors of controls that are means of public texts or another task's)
does not depend on epsilon, and is looked up by the configuration it was made from. No choice is made on test texts: the
last round counts.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from defenses.dp.beforehand import Beforehand
from defenses.dp.compressed import Compressed
from defenses.dp.release import Bounded
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.config import RunConfig
from ifedpriv.data.task import Example, TaskKind
from ifedpriv.experiment import baselines, controls
from ifedpriv.experiment.comparisons import joined, together
from ifedpriv.experiment.curve.config import CurveConfig
from ifedpriv.experiment.curve.keys import PRIVATE, ZERO_SHOT, Key
from ifedpriv.experiment.facts import task_hash
from ifedpriv.experiment.figures import ACCURACY, EXACT_MATCH, MACRO_F1, score
from ifedpriv.experiment.play import play
from ifedpriv.experiment.population import check_delta
from ifedpriv.experiment.prepare import Material, Setup, gather, ground, load_backbone, protect
from ifedpriv.experiment.reporting import versions
from ifedpriv.icl.evaluate import Answers
from ifedpriv.measure import metrics
from ifedpriv.report.parts import RANDOM_VECTOR, ZERO_VECTOR

Attack = Callable[[Setup], dict[str, Any] | None]
"""From a private run's parts to what is found in its noised vectors, as `AttackPoint` has it."""

# A seed's private runs share one gathering, and its other runs another.
_KEPT = 2
# The public mean's and another task's, for each of these.
_MEANS = 4
_ROOM = 256 * 2**20


class Bench:
    """One process's place to measure at.

    Args:
        config: the curve's.
        attack: is given each private run's parts, and says what is found in its noised vectors; None for a curve
            without. A function of a module, since other processes import it by its name.
    """

    def __init__(self, config: CurveConfig, attack: Attack | None = None) -> None:
        self._config = config
        self.attack = attack
        self._digest = config.digest()
        self._backbone: Backbone | None = None
        self._gathered: OrderedDict[str, Material] = OrderedDict()
        self._means: OrderedDict[tuple[str, str], controls.Vector] = OrderedDict()

    def check(self) -> None:
        """Build the runs at both ends of every curve, so that what cannot run is refused before anything is written.

        Raises:
            UserError: in the words of the run's own refusal.
        """
        first = self._config.all_seeds[0]
        keys = [key for key in self._config.all_keys() if key.seed == first]
        for key in keys:
            # Seconds before the model is loaded.
            check_delta(self._config.run_of(key))
        for unit, trust in dict.fromkeys((key.unit, key.trust) for key in keys):
            line = [key for key in keys if (key.unit, key.trust) == (unit, trust)]
            for key in dict.fromkeys((line[0], line[-1])):
                controls.sources(self._setup(key))

    def measure(self, key: Key) -> dict[str, Any]:
        """A point's line: its key, what was measured, what was spent, and what it takes to repeat it."""
        started = time.process_time()
        setup = self._setup(key)
        line: dict[str, Any] = {"curve": self._digest, **key.to_json()}
        if key.kind == ZERO_SHOT:
            answers = baselines.zero_shot(setup)
            line |= {"spent_epsilon": None, "spent_delta": None, "noise": {}, "rounds": 0, "guard": None}
        elif key.control is not None:
            state = controls.calibrated(setup, self._stand_in(key.control, setup))
            answers = joined(together(setup, setup.method.artifact(state)))
            # It has the run's noise, and releases nothing.
            line |= {"spent_epsilon": None, "spent_delta": None, "noise": _noise(setup)}
            line |= {"rounds": state.round, "guard": None}
        else:
            state, ledger = play(setup)
            answers = joined(together(setup, setup.method.artifact(state)))
            statement = setup.defense.statement(ledger)
            verdict = setup.method.verdict(state)
            line |= {
                "spent_epsilon": statement.epsilon,
                "spent_delta": statement.delta,
                "noise": _noise(setup),
                "rounds": state.round,
                "guard": None if verdict is None else verdict.improves,
            }
            if self.attack is not None and key.kind == PRIVATE:
                line["attack"] = self.attack(setup)
        task = setup.data.task
        return line | {
            "metrics": _scores(task.kind, answers),
            "queries": len(answers),
            "task": task.name,
            "task_hash": task_hash(task),
            "queries_hash": _hash_of(setup.all_queries),
            "backbone": setup.backbone.fingerprint,
            "versions": versions(),
            "processor_seconds": round(time.process_time() - started, 3),
        }

    def _stand_in(self, control: str, setup: Setup) -> controls.Vector:
        """A control's vector; one that does not depend on the run's own is made once for all that share material."""
        if control in (ZERO_VECTOR, RANDOM_VECTOR):
            return controls.stand_in(control, setup, {}, lambda: controls.own_vector(setup))
        wanted = (ground(setup.config), control)
        if wanted not in self._means:
            while len(self._means) >= _MEANS:
                self._means.popitem(last=False)
            self._means[wanted] = controls.mean_of(controls.sources(setup)[control], setup)
        return controls.as_injected(self._means[wanted], setup)

    def _setup(self, key: Key) -> Setup:
        config = self._config.run_of(key)
        return protect(config, self._material(config))

    def _material(self, config: RunConfig) -> Material:
        wanted = ground(config)
        if wanted not in self._gathered:
            if self._backbone is None:
                self._backbone = load_backbone(config)
            while len(self._gathered) >= _KEPT:
                self._gathered.popitem(last=False)
            self._gathered[wanted] = gather(config, backbone=self._backbone, room=_ROOM)
        self._gathered.move_to_end(wanted)
        return self._gathered[wanted]


def _hash_of(queries: Sequence[Example]) -> str:
    """Names the test texts, so that seeds with the same ones are told from seeds with their own."""
    text = json.dumps([(query.text, query.label, query.answer) for query in queries])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _scores(kind: TaskKind, answers: Answers) -> dict[str, float]:
    if kind is TaskKind.GENERATION:
        return {EXACT_MATCH: score(kind, answers)}
    return {
        ACCURACY: score(kind, answers),
        MACRO_F1: metrics.macro_f1(answers.truth, answers.predicted),
    }


def _noise(setup: Setup) -> dict[str, float]:
    """Standard deviation of the noise over what one unit can move, by kind of upload."""
    found = {}
    for kind, found_release in setup.defense.releases.items():
        release = found_release.inner if isinstance(found_release, Compressed) else found_release
        if isinstance(release, Bounded):
            found[str(kind)] = release.multiplier
        elif isinstance(release, Beforehand):
            found[str(kind)] = release.mechanism.spread / release.mechanism.moved
    return found
