"""What one client offers in a round, and what becomes of numbers that are not finite.

The invariant: they are never sent, and where a bound speaks of what a client sends, nobody sees that there were any:
they count as zero, and the client's own log says so.
"""

from __future__ import annotations

import logging

import numpy as np

from defenses.dp.release import Bounded, Release
from defenses.entropy import Entropy
from defenses.upload import Float32Array, Upload
from ifedpriv.errors import NotFiniteError, UserError
from ifedpriv.methods.method import Client, ClientStep, Method, State

_log = logging.getLogger("ifedpriv.federation")
_STEP = 13


def draws_of(entropy: Entropy, number: int, client: int) -> Entropy:
    """What a client of a simulated federation draws from in a round; the noise has its own branch."""
    return entropy.branch(f"round {number} client {client}")


def noise_of(draws: Entropy) -> Entropy:
    """What a client's noise and the rounding of its rows are drawn from."""
    return draws.branch("noise")


def step_rng(seed: int, number: int, client: int) -> np.random.Generator:
    """What a client's own step draws from, such as its batches."""
    return np.random.default_rng([seed, _STEP, number, client])


def offer(
    method: Method,
    state: State,
    client: Client,
    release: Release,
    *,
    rng: np.random.Generator,
    centre: Float32Array | None,
    roster: int,
    noise: Entropy,
) -> tuple[ClientStep, Upload]:
    """A client's step, and what it sends of it.

    Args:
        method: what clients compute.
        state: as the client knows it.
        client: its data.
        release: what becomes of the upload before it is protected.
        rng: the client's own draws.
        centre: what everybody knows already, flat; None where the release has its own.
        roster: how many clients the round asks.
        noise: draws the noise.

    Raises:
        UserError: a number is not finite, and may not count as zero.
    """
    kind, layout = method.asks(state.round)
    broken: list[str] = []

    def told(rows: int) -> None:
        broken.append(f"{rows} of its rows")

    try:
        try:
            step = method.client_step(state, client, rng)
        except NotFiniteError as error:
            zero = release.zero(layout, centre, state.round) if isinstance(release, Bounded) else None
            if zero is None:
                raise
            step = ClientStep(zero, None, not_finite=error.what)
        # Rows of examples are computed here, one by one, as they are taken.
        upload = release.give(step.upload, centre, roster, noise, told)
    except NotFiniteError as error:
        raise UserError(
            f"client {client.number} has a number that is not finite in {error.what}, in round {state.round} of kind "
            f"{kind}",
            "look for an overflow: use backbone.dtype float32, or a smaller learning rate, or take out the example",
        ) from error
    if step.not_finite:
        broken.append(step.not_finite)
    if broken:
        what = " and ".join(broken)
        _log.warning(
            "client %d, round %d, %s: not finite, counted as zero: %s", client.number, state.round, kind, what
        )
    return step, upload
