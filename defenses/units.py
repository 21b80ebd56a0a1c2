"""The words of a privacy guarantee, as closed sets, so that one word means one thing in every file."""

from __future__ import annotations

from enum import StrEnum


class Unit(StrEnum):
    """Whose presence a guarantee hides."""

    EXAMPLE = "example"
    CLIENT = "client"


class Neighbouring(StrEnum):
    """How two data sets that must look alike differ, by one unit."""

    ADD_OR_REMOVE = "add or remove"
    REPLACE = "replace"


class Trust(StrEnum):
    """Who has to be trusted with what.

    `SERVER` is no protection at all: the server reads every upload. `KEY_HOLDER` trusts a party apart from the
    server not to join with it, and `CLIENTS` that not too many clients do; the server then reads sums only, and
    nothing hides anybody within a sum. `CENTRAL` trusts the server to add noise, `DISTRIBUTED` trusts enough clients
    to add their share, `LOCAL` trusts nobody else.
    """

    SERVER = "server"
    KEY_HOLDER = "key holder"
    CENTRAL = "central"
    DISTRIBUTED = "distributed"
    LOCAL = "local"
    CLIENTS = "clients"
