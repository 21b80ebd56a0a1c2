"""Masked rounds beside Flower's SecAgg+ at equal n, k and t: python benchmarks/flower_secagg.py.

Needs `pip install flwr` (of this benchmark alone). Both are called as installed, in one process, one after the other
in each repeat, so that the machine's mood meets both alike. 262,144 numbers modulo 2^32; one client is lost after it
has shared its keys.

What is counted, as processor time. *Flower*: its client mod (`secaggplus_mod`, all four stages; the training that it
wraps gives out an array made before) and its server workflow (`SecAggPlusWorkflow`) with a grid in this process that
hands messages over; their serialisation is not counted. *Ours*: everything that `MaskedClient` and `MaskedServer` do,
encoding and decoding of every frame included, and with it the signed directory, the consistency round and the
commitments. A client's time is a mean over all clients (Flower) or over a sample (ours, see `_masked.py`). Bytes are
those of frames (ours) and of messages as protocol buffers (Flower), one client's, up and down.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import numpy as np
from _masked import Stage, spent
from _shared import machine, median_interval, print_machine, store
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.client.mod.secure_aggregation.secaggplus_mod import secaggplus_mod
from flwr.common import FitIns, FitRes, Parameters, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.common.typing import Code
from flwr.compat.common import recorddict_compat as compat
from flwr.server.compat.legacy_context import LegacyContext
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD, Key
from flwr.server.workflow.secure_aggregation.secaggplus_workflow import SecAggPlusWorkflow
from flwr.supercore.task_identity import TaskIdentity

from defenses.secagg.masked.graph import Shape

VALUES = 262_144
BITS = 16
SETTINGS = ((16, 15, 11), (16, 4, 4), (64, 12, 9), (64, 63, 43))
"""Clients, neighbours of each, and shares that put a secret together."""


class Flower:
    """One round of SecAgg+, with the times of its two ends kept apart."""

    def __init__(self, n: int, neighbours: int, threshold: int) -> None:
        self.nodes = list(range(1, n + 1))
        self.lost, self.weight = n, 1000
        rng = np.random.default_rng(0)
        self.updates = {node: rng.uniform(-1, 1, VALUES).astype(np.float32) for node in self.nodes}
        self.contexts = {node: Context(0, node, {}, RecordDict(), {}) for node in self.nodes}
        self.client_ms = self.grid_ms = 0.0
        self.answered = dict.fromkeys(self.nodes, 0)
        self.up = self.down = 0
        self.workflow = SecAggPlusWorkflow(neighbours + 1, threshold, max_weight=float(self.weight))
        self.sum: Any = None

    # The parts of a strategy, of a client manager and of a grid that the workflow asks for.
    def configure_fit(self, server_round: int, parameters: Parameters, manager: Any) -> list[Any]:
        """Everybody trains."""
        return [(SimpleNamespace(node_id=node), FitIns(Parameters([], ""), {})) for node in self.nodes]

    def aggregate_fit(self, server_round: int, results: Any, failures: Any) -> tuple[None, dict[str, Any]]:
        """Keeps what the workflow made."""
        self.sum = parameters_to_ndarrays(results[0][1].parameters)[0]
        return None, {}

    def num_available(self) -> int:
        """Everybody."""
        return len(self.nodes)

    def send_and_receive(self, messages: list[Message], *, timeout: float | None = None) -> list[Message]:
        """Each client's answer; one client gives none from the third stage on."""
        began = time.process_time()
        replies = []
        for message in messages:
            node = message.metadata.dst_node_id
            self.answered[node] += 1
            if node == self.lost and self.answered[node] > 2:
                continue
            down = recorddict_to_proto(message.content)
            message.content = recorddict_from_proto(down)
            took, reply = spent(partial(self._answer, message, node))
            self.client_ms += took
            up = recorddict_to_proto(reply.content)
            if node == 1:
                self.up += up.ByteSize()
                self.down += down.ByteSize()
            replies.append(reply)
        self.grid_ms += 1e3 * (time.process_time() - began)
        return replies

    def _answer(self, message: Message, node: int) -> Message:
        def trained(msg: Message, _: Context) -> Message:
            result = FitRes(
                Status(Code.OK, ""), ndarrays_to_parameters([self.updates[node]]), self.weight, {}
            )
            return Message(compat.fitres_to_recorddict(result, False), reply_to=msg)

        return secaggplus_mod(message, self.contexts[node], trained)

    def run(self) -> dict[str, float]:
        """Milliseconds of a client and of the server, and bytes."""
        TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 0
        context = LegacyContext(Context(0, 0, {}, RecordDict(), {}), strategy=self, client_manager=self)
        context.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({Key.CURRENT_ROUND: 1})
        empty = compat.parameters_to_arrayrecord(Parameters([], ""), False)
        context.state.array_records[MAIN_PARAMS_RECORD] = empty
        whole, _ = spent(lambda: self.workflow(self, context))
        kept = [update for node, update in self.updates.items() if node != self.lost]
        assert np.abs(self.sum - np.mean(kept, axis=0)).max() < 1e-4
        return {
            "client_ms": self.client_ms / len(self.nodes),
            "server_ms": whole - self.grid_ms,
            "up_bytes": self.up,
            "down_bytes": self.down,
        }


def ours(n: int, neighbours: int, threshold: int, sample: int) -> dict[str, float]:
    """The same of our round."""
    stage = Stage(n, VALUES, BITS, 1 / n, Shape(neighbours, threshold))
    clients = [
        stage.client(place) for place in np.linspace(0, n - 2, min(sample, n - 1)).astype(int).tolist()
    ]
    server, _, _ = stage.server()
    return {
        "client_ms": float(np.mean([sum(took.values()) for took, _ in clients])),
        "server_ms": sum(server.values()),
        "up_bytes": clients[0][1]["up"],
        "down_bytes": clients[0][1]["down"],
    }


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--repeats", type=int, default=3, help="of each setting but the last, which runs once"
    )
    parser.add_argument(
        "--sample", type=int, default=8, help="clients of ours that are measured in each repeat"
    )
    parser.add_argument("--settings", type=int, nargs="+", default=list(range(len(SETTINGS))))
    parser.add_argument("--name", default="flower_secagg", help="names the file under results/")
    options = parser.parse_args()
    facts = {**machine(1), "flwr": version("flwr"), "cryptography": version("cryptography")}
    print_machine(facts)
    print(
        f"{VALUES:,} numbers, one client lost; processor ms; Flower {facts['flwr']} / ours; medians of ratios"
    )
    rows = []
    for n, neighbours, threshold in (SETTINGS[index] for index in options.settings):
        pairs = []
        for _ in range(1 if (n, neighbours) == SETTINGS[-1][:2] else options.repeats):
            theirs = Flower(n, neighbours, threshold).run()
            pairs.append((theirs, ours(n, neighbours, threshold, options.sample)))
        ratios = {
            name: median_interval([theirs[name] / mine[name] for theirs, mine in pairs])
            for name in ("client_ms", "server_ms", "up_bytes", "down_bytes")
        }
        rows.append(
            {
                "clients": n,
                "neighbours": neighbours,
                "threshold": threshold,
                "flower": [theirs for theirs, _ in pairs],
                "ours": [mine for _, mine in pairs],
                "flower_over_ours": ratios,
            }
        )
        shown = [
            f"{name} {np.median([t[name] for t, _ in pairs]):,.1f} / {np.median([m[name] for _, m in pairs]):,.1f}"
            f" = {ratios[name]['median']:.1f}x"
            for name in ratios
        ]
        print(f"n={n} k={neighbours} t={threshold}: " + "; ".join(shown), flush=True)
    print(f"stored in {store(options.name, {'machine': facts, 'values': VALUES, 'rows': rows})}")


if __name__ == "__main__":
    main()
