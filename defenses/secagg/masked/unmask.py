"""Taking the masks off a sum, and finding who is to blame where that fails.

Invariant: a secret that was put together is compared with what its owner committed to before it is used, so that
the sum is exact or there is an error; and an error names the client whose shares do not fit.

Reference: Bonawitz et al., CCS 2017, figure 4, round 4, server.
"""

from __future__ import annotations

import hmac

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
    for dealer in sorted(got.deals):
        secrets[dealer] = _put_together(terms, got, dealer)
    total = got.total.copy()
    for dealer, secret in secrets.items():
        number = terms.round.roster[dealer]
        if dealer in got.inputs:
            apply(total, derived.self_mask_key(terms, number, secret), -1)
            continue
        mine = AgreementKey(secret)
        # A dropped client's pair masks stand in its neighbours' inputs, each with the neighbour's sign.
        for other in terms.graph.neighbours(dealer):
            if other not in got.inputs:
                continue
            neighbour = terms.round.roster[other]
            public = got.adverts[other][KEY_BYTES : 2 * KEY_BYTES]
            key = derived.pair_mask_key(terms, number, neighbour, mine, public)
            apply(total, key, 1 if pair_sign(neighbour, number) == -1 else -1)
    return total


def _put_together(terms: Terms, got: Collected, dealer: int) -> bytes:
    """A survivor's seed, or a dropped client's mask key."""
    graph, number = terms.graph, terms.round.roster[dealer]
    opened: list[tuple[int, bytes]] = []
    for point, holder in graph.by_point(dealer):
        shares_of = got.opened.get(holder)
        if shares_of is not None and dealer in shares_of:
            opened.append((point, shares_of[dealer]))
            if len(opened) == graph.shape.threshold:
                break
    else:
        raise Broken(
            f"{len(opened)} shares of client {number} were opened, and {graph.shape.threshold} put its secret "
            "together",
            "if its neighbours are there, it dealt shares that do not fit its commitments: leave it out of the next "
            "round",
        )
    points, shares = zip(*opened, strict=True)
    misdealt = Broken(
        f"the shares of client {number} fit nothing that it committed to", "leave it out of the next round"
    )
    try:
        secret = shamir.combine(points, shares)
        if dealer in got.inputs:
            made, committed = (
                derived.seed_commitment(terms, number, secret),
                got.commitments[dealer][:KEY_BYTES],
            )
        else:
            made = AgreementKey(secret).public
            committed = got.adverts[dealer][KEY_BYTES : 2 * KEY_BYTES]
    except ProtocolError as error:
        raise misdealt from error
    if not hmac.compare_digest(made, committed):
        raise misdealt
    return secret
