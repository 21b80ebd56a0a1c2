"""How clients use a library of prompts, and what they would have without it.

The one invariant: a client chooses its prompt by its own examples, and never by a test text.
"""

from __future__ import annotations

import numpy as np

from ifedpriv.experiment import baselines
from ifedpriv.experiment.prepare import Setup
from ifedpriv.icl.evaluate import Answers
from ifedpriv.icl.soft_prompt.library import PromptLibrary
from ifedpriv.icl.soft_prompt.prompt import SoftPrompt
from ifedpriv.methods.ficpd import Ficpd, best
from ifedpriv.methods.method import Client

_LOCAL = 22


class PromptAnswers:
    """What clients answer with the prompts of one library; each prompt answers a group's queries once.

    Args:
        setup: the experiment's parts.
        method: its method.
        library: the prompts.
    """

    def __init__(self, setup: Setup, method: Ficpd, library: PromptLibrary) -> None:
        self._setup = setup
        self._method = method
        self._library = library
        self._answers: dict[tuple[int, str], Answers] = {}
        self._chosen: dict[int, int] = {}

    def chosen(self, client: Client) -> int:
        """The prototype that fits a client's examples best, from 1; 0, the meta prompt, where there is none."""
        prototypes = self._library.prototypes
        if len(prototypes) < 2:
            return len(prototypes)
        if client.number not in self._chosen:
            model = self._method.model(client)
            self._chosen[client.number] = 1 + best(model.losses(prototypes, range(model.examples)))
        return self._chosen[client.number]

    def of(self, client: Client) -> Answers:
        """A client's answers to its group's queries."""
        key = (self.chosen(client), client.group)
        if key not in self._answers:
            prompt = self._library.prompt(key[0])
            self._answers[key] = baselines.local_injection(self._setup, prompt, client)
        return self._answers[key]

    def of_everybody(self) -> list[Answers]:
        """One list for each client."""
        clients = self._setup.clients
        return [self.of(clients[number]) for number in clients.numbers(0)]

    def alone(self, client: Client) -> SoftPrompt:
        """What a client tunes alone from the public start, with as many steps as it takes in the federation."""
        method = self._method
        prompt = method.initial_state().arrays["origin"]
        for number in range(method.spec.warmup + method.spec.rounds):
            rng = np.random.default_rng([self._setup.config.seed, _LOCAL, client.number, number])
            prompt = method.tune(prompt[None], client, rng).prompt
        return SoftPrompt(prompt, self._setup.backbone.fingerprint)
