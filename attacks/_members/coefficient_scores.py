"""What moves of coefficients say: who was in, what labels were held, and which two moves are of one client.

The invariant: everything that is fitted is fitted on shadow clients, and nothing on the moves under attack.

References:
    Carlini et al., arXiv 2112.03570 (LiRA, offline), with calibrations for trainings; Pasquini, Francati & Ateniese,
    Eluding secure aggregation, arXiv 2111.07380, on what a server that knows the start reads off an update.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attacks._base.targets import Floats
from attacks._members.calibrations import ShadowClients

_RIDGES = np.array([0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0, 1e4])
_SHRUNK = 0.1
_LEAST = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Movement:
    """How moves of one round come from gradients, as shadows show it.

    Attributes:
        usual: mean move, ``[d]``.
        precision: inverse of the moves' covariance, ``[d, d]``.
        response: what a unit of the mean gradient adds to the move, ``[d, d]``.
        gradient: mean of single texts' gradients, ``[d]``.
    """

    usual: Floats
    precision: Floats
    response: Floats
    gradient: Floats

    @classmethod
    def of(cls, moves: Floats, mean_gradients: Floats) -> Movement:
        """Fit to moves ``[shadows, d]`` and mean gradients of the texts behind them, likewise."""
        gradient = mean_gradients.mean(axis=0)
        response = ridge(mean_gradients - gradient, moves - moves.mean(axis=0))
        return cls(moves.mean(axis=0), inverse_covariance(moves), response, gradient)

    def shifts(self, texts: Floats, examples: int) -> Floats:
        """What each text's gradient ``[n, d]`` moves a client of so many examples."""
        return np.asarray((texts - self.gradient) @ self.response / examples, dtype=np.float64)

    def ratios(self, shifts: Floats, moves: Floats, clients: int = 1) -> Floats:
        """Log-likelihood ratio of each text ``[n, d]`` at each move ``[m, d]``: ``[n, m]``.

        Args:
            shifts: what each text moves one client.
            moves: of single clients, or means over clients.
            clients: over how many a move is the mean.
        """
        # A mean over clients has less variance, and one text moves it less: the two cancel but for one factor.
        aims = shifts @ self.precision
        own = (aims * shifts).sum(axis=1)[:, None] / clients
        return np.asarray(aims @ (moves - self.usual).T - own / 2, dtype=np.float64)


def ridge(inputs: Floats, outputs: Floats) -> Floats:
    """Linear map ``[d, e]`` from centred inputs ``[n, d]`` to centred outputs, each input in its own spread.

    How much it is shrunk is what predicts a row best from the others (leave-one-out, in closed form); where nothing
    can be predicted, that is nearly to 0.
    """
    spread = np.maximum(inputs.std(axis=0), _LEAST)
    left, values, right = np.linalg.svd(inputs / spread, full_matrices=False)
    turned = left.T @ outputs
    best, found = np.inf, np.zeros((inputs.shape[1], outputs.shape[1]))
    scale = np.maximum(outputs.std(axis=0), _LEAST)
    for amount in _RIDGES * len(inputs):
        shares = values**2 / (values**2 + amount)
        leverage = (left**2 @ shares) + 1 / len(inputs)
        missed = (outputs - left @ (shares[:, None] * turned)) / np.maximum(1 - leverage, 1e-3)[:, None]
        loss = float(((missed / scale) ** 2).mean())
        if loss < best:
            best, found = loss, right.T @ ((values / (values**2 + amount))[:, None] * turned)
    return np.asarray(found / spread[:, None], dtype=np.float64)


def inverse_covariance(rows: Floats) -> Floats:
    """Inverse of the covariance of rows ``[n, d]``, shrunk toward its diagonal; 0 for numbers that do not vary."""
    spread = rows.std(axis=0)
    varies = spread > _LEAST
    scaled = (rows - rows.mean(axis=0))[:, varies] / spread[varies]
    shrunk = (1 - _SHRUNK) * scaled.T @ scaled / len(rows) + _SHRUNK * np.eye(int(varies.sum()))
    found = np.zeros((rows.shape[1], rows.shape[1]))
    found[np.ix_(varies, varies)] = np.linalg.inv(shrunk) / np.outer(spread[varies], spread[varies])
    return found


def beside_shadows(seen: Floats, of_shadows: Floats) -> Floats:
    """Each text's score ``[n]`` in standard deviations of what shadows without it score, ``[n, shadows]``."""
    spread = np.maximum(of_shadows.std(axis=1, ddof=1), _LEAST)
    return np.asarray((seen - of_shadows.mean(axis=1)) / spread, dtype=np.float64)


def label_shares(shadows: ShadowClients, labels: Floats, moves: Floats) -> Floats:
    """Label mixes ``[m, classes]`` of clients by their moves in all rounds, ``[rounds, m, d]``.

    Args:
        shadows: fitted on.
        labels: their mixes, ``[shadows, classes]``.
        moves: of clients that took part in all rounds.
    """
    known = np.concatenate(list(shadows.moves), axis=1)
    centre, usual = known.mean(axis=0), labels.mean(axis=0)
    asked = np.concatenate(list(moves), axis=1)
    found = usual + (asked - centre) @ ridge(known - centre, labels - usual)
    found = np.maximum(found, 0.0)
    total = found.sum(axis=1, keepdims=True)
    return np.asarray(np.where(total > 0, found / np.maximum(total, _LEAST), usual), dtype=np.float64)


def same_clients(first: Floats, second: Floats, shadows: tuple[Floats, Floats]) -> list[int]:
    """For each move of one round ``[m, d]``, which of another round's ``[m', d]`` is nearest, as the same client's.

    By the cosine of what is particular to each, in units of what shadows ``[shadows, d]`` of its round spread: all
    clients start at one point, so what moves all of them tells nobody from another.
    """
    one, other = (
        _particular(moves, inverse_covariance(own))
        for moves, own in zip((first, second), shadows, strict=True)
    )
    return [int(i) for i in (one @ other.T).argmax(axis=1)]


def _particular(moves: Floats, precision: Floats) -> Floats:
    values, axes = np.linalg.eigh(precision)
    found = (moves - moves.mean(axis=0)) @ (axes * np.sqrt(np.maximum(values, 0.0))) @ axes.T
    return np.asarray(
        found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), _LEAST), dtype=np.float64
    )
