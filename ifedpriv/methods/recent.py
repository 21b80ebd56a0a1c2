"""What a method keeps of clients between rounds, such as their tokenised examples.

The invariant: it is bounded, so that memory does not grow with the federation.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

from ifedpriv.methods.method import Client

CACHED_CLIENTS = 64

Kept = TypeVar("Kept")


def recent(cache: OrderedDict[int, Kept], client: Client, make: Callable[[Client], Kept]) -> Kept:
    """What is kept of a client, made where it is not there; the client seen longest ago makes room."""
    if client.number not in cache:
        cache[client.number] = make(client)
        if len(cache) > CACHED_CLIENTS:
            cache.popitem(last=False)
    cache.move_to_end(client.number)
    return cache[client.number]
