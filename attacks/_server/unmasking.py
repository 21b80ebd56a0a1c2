"""What a server that cheats computes once it has both kinds of secret of one client.

Invariant: it uses only what crossed the wire and what the server made itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from attacks._server.world import VICTIM, World, masked_input
from defenses.ring import UIntArray
from defenses.secagg.masked import derived, shamir
from defenses.secagg.masked.client import MaskedClient
from defenses.secagg.masked.keys import AgreementKey
from defenses.secagg.masked.masks import apply, pair_sign
from defenses.secagg.masked.policy import Terms


def open_alone(
    terms: Terms, place: int, masked: UIntArray, seed: bytes, pair_keys: Mapping[int, bytes]
) -> UIntArray:
    """A client's input from its masked input, its seed, and the keys that it shares with each neighbour."""
    vector = masked.copy()
    number = terms.round.roster[place]
    apply(vector, derived.self_mask_key(terms, number, seed), -1)
    for other, key in pair_keys.items():
        apply(vector, key, 1 if pair_sign(number, terms.round.roster[other]) == -1 else -1)
    return vector


def put_together(terms: Terms, dealer: int, shares: Mapping[int, bytes]) -> bytes:
    """A secret from holder's place to share."""
    chosen = sorted((terms.graph.point(dealer, holder), share) for holder, share in shares.items())
    points, values = zip(*chosen[: terms.graph.shape.threshold], strict=True)
    return shamir.combine(points, values)


def from_both(world: World, clients: Mapping[int, MaskedClient], seed: bytes, key: bytes) -> UIntArray:
    """The victim's input from both its secrets, the seed and the private mask key."""
    terms, mine = world.terms(), AgreementKey(key)
    pairs = {
        place: derived.pair_mask_key(
            terms, VICTIM, number, mine, world.read(clients[number].resend()[0]).mask_key
        )
        for place, number in enumerate(world.numbers)
        if number != VICTIM
    }
    return open_alone(terms, 0, masked_input(world, clients[VICTIM]), seed, pairs)
