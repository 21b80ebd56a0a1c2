"""Bytes are counted by client, whole frames and their numbers apart, and survive a checkpoint."""

import json

from defenses.frame import HEADER_SIZE
from ifedpriv.federation.traffic import Traffic


def test_counts_add_up():
    traffic = Traffic()
    for client, size in ((3, 40), (1, 50), (3, 60)):
        traffic.count(client, bytes(HEADER_SIZE + size))
    assert dict(traffic.payload) == {3: 100, 1: 50}
    assert dict(traffic.wire) == {3: 100 + 2 * HEADER_SIZE, 1: 50 + HEADER_SIZE}
    assert traffic.totals() == (150, 150 + 3 * HEADER_SIZE)


def test_round_trip_through_json():
    traffic = Traffic()
    traffic.count(10, bytes(70))
    traffic.count(2, bytes(70))
    again = Traffic.from_dict(json.loads(json.dumps(traffic.to_dict())))
    assert again.to_dict() == traffic.to_dict()
    again.count(2, bytes(70))
    assert again.totals()[1] == 210


def test_nothing_counted_is_nothing():
    assert Traffic().totals() == (0, 0)
