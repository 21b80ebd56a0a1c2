"""Taking the masks off a sum, and finding who is to blame where that fails.

Invariant: a secret that was put together is compared with what its owner committed to before it is used, so that
the sum is exact or there is an error; and an error names the client whose shares do not fit.

Reference: Bonawitz et al., CCS 2017, figure 4, round 4, server.
"""

from __future__ import annotations

import hmac

import numpy as np

from defenses.errors import IfedprivError, ProtocolError
from defenses.ring import UIntArray
from defenses.secagg.masked import derived, shamir
from defenses.secagg.masked.keys import KEY_BYTES, AgreementKey
from defenses.secagg.masked.masks import apply, pair_sign
from defenses.secagg.masked.policy import Terms
from defenses.secagg.masked.server_state import Collected


class Broken(IfedprivError):
    """The masks cannot be taken off; the sentence names the client on whom it fails."""


def take_off(terms: Terms, got: Collected) -> UIntArray:
    """The sum of the survivors' inputs, from the sum of their masked inputs.

    Args:
        terms: the round.
        got: everything that arrived.

    Raises:
        Broken: too few shares of a client were opened, or they fit nothing that it committed to.
    """
    secrets: dict[int, bytes] = {}
    for dealer in np.flatnonzero(got.seeds.there).tolist():
        secrets[dealer] = _put_together(terms, got, dealer)
    total = got.total.copy()
    for dealer, secret in secrets.items():
        number = terms.round.roster[dealer]
        if got.inputs[dealer]:
            apply(total, derived.self_mask_key(terms, number, secret), -1)
            continue
        mine = AgreementKey(secret)
        # A dropped client's pair masks stand in its neighbours' inputs, each with the neighbour's sign.
        for other in terms.graph.neighbours(dealer):
            if not got.inputs[other]:
                continue
            neighbour = terms.round.roster[other]
            public = got.adverts.get(other)[KEY_BYTES : 2 * KEY_BYTES]
            key = derived.pair_mask_key(terms, number, neighbour, mine, public)
            apply(total, key, 1 if pair_sign(neighbour, number) == -1 else -1)
    # Until here sums and masks were those of the elements' type, of which the ring may be the lower bits.
    return total if terms.grid.ring.native else terms.grid.ring.wrap(total)


def _put_together(terms: Terms, got: Collected, dealer: int) -> bytes:
    """A survivor's seed, or a dropped client's mask key."""
    number, threshold = terms.round.roster[dealer], terms.graph.shape.threshold
    points, shares = got.opened_of(dealer, threshold)
    if len(points) < threshold:
        raise Broken(
            f"{len(points)} shares of client {number} were opened, and {threshold} put its secret together",
            "if its neighbours are there, it dealt shares that do not fit its commitments: leave it out of the next "
            "round",
        )
    misdealt = Broken(
        f"the shares of client {number} fit nothing that it committed to", "leave it out of the next round"
    )
    try:
        secret = shamir.combine(points, shares)
        if got.inputs[dealer]:
            made, committed = (
                derived.seed_commitment(terms, number, secret),
                got.seeds.get(dealer),
            )
        else:
            made = AgreementKey(secret).public
            committed = got.adverts.get(dealer)[KEY_BYTES : 2 * KEY_BYTES]
    except ProtocolError as error:
        raise misdealt from error
    if not hmac.compare_digest(made, committed):
        raise misdealt
    return secret
