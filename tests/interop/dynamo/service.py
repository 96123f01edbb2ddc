"""Engines that publish to Dynamo's selection service over ZMQ, and what the service says of them."""

import itertools
import time
from collections.abc import Iterable
from typing import Any, Self

import msgspec
import zmq

from epp.core.endpoints import WorkerRank

from .oracle import Oracle
from .streams import BLOCK_TOKENS, PLAIN, Space, ranks

MODEL = "m"
_HEARD_S = 20.0
_POLL_S = 0.01
_NOTHING: list[object] = []
"""What the service's empty answer is in JSON."""
_MARK = 0x7FFF_0000
"""Token ids from here on stand in markers, never in prompts."""


class Service:
    """The service in the oracle, and a publisher per rank; a context manager."""

    def __init__(self, oracle: Oracle, workers: int, dp_size: int, *, threads: int) -> None:
        self._oracle = oracle
        self._targets = ranks(workers, dp_size)
        self._context = zmq.SyncContext()
        self._sockets = {target: self._context.socket(zmq.PUB) for target in self._targets}
        self._next = dict.fromkeys(self._targets, 0)
        self._marks = itertools.count(_MARK)
        ports = {
            target: socket.bind_to_random_port("tcp://127.0.0.1") for target, socket in self._sockets.items()
        }
        oracle.ask(
            "service_new",
            threads=threads,
            workers=[_worker(worker, dp_size, ports) for worker in range(1, workers + 1)],
        )

    def __enter__(self) -> Self:
        self.settle()
        return self

    def __exit__(self, *_: object) -> None:
        self._context.destroy(linger=0)

    def publish(self, target: WorkerRank, payload: bytes) -> None:
        """One message of an engine."""
        number = self._next[target].to_bytes(8, "big")
        self._next[target] += 1
        self._sockets[target].send_multipart((b"", number, payload))

    def settle(self) -> None:
        """Wait until the service has applied all that was published: every rank stores a block that nobody
        asks for, again and again while it is not heard, and its stream is read in order."""
        deadline_s = time.monotonic() + _HEARD_S
        waiting = set(self._targets)
        while waiting:
            assert time.monotonic() < deadline_s, f"{waiting} are not heard"
            marks = {target: [next(self._marks)] * BLOCK_TOKENS for target in waiting}
            for target, tokens in marks.items():
                self.publish(target, _marker(tokens, target.rank))
            time.sleep(_POLL_S)
            waiting -= {target for target, tokens in marks.items() if self.runs(tokens, PLAIN)[target][0]}

    def runs(self, tokens: list[int], space: Space) -> dict[WorkerRank, tuple[int, int, int]]:
        """Blocks per rank of the run: on the device, then with the host's, then with the disk's."""
        (answer,) = self.call("overlap_scores", prompt(tokens, space))
        return {
            WorkerRank(row["worker_id"], row["dp_rank"]): (
                row["device_blocks"],
                row["host_pinned_blocks"],
                row["disk_blocks"],
            )
            for row in answer["workers"]
        }

    def call(self, method: str, *requests: Any) -> list[Any]:
        """One call of the service per request."""
        return self._oracle.service(method, *((request,) for request in requests))

    def tell(self, method: str, selection: str) -> None:
        """A call that has nothing to answer."""
        assert self.call(method, selection) == [_NOTHING], (method, selection)

    def output_block(self, selection: str, decay: float | None) -> None:
        """One more block of output exists."""
        keywords = {} if decay is None else {"decay_fraction": decay}
        assert self._oracle.service("add_output_block", (selection, keywords)) == [None]

    def loads(self) -> dict[WorkerRank, tuple[int, int, int]]:
        """Per rank: prefill tokens, decode blocks, requests."""
        ((model,),) = self._oracle.service("loads", ())
        return {WorkerRank(row["worker_id"], row["dp_rank"]): load_of(row) for row in model["loads"]}


def load_of(row: dict[str, int]) -> tuple[int, int, int]:
    """The numbers of one of the service's rows of load."""
    return row["potential_prefill_tokens"], row["potential_decode_blocks"], row["active_requests"]


def prompt(tokens: Iterable[int], space: Space = PLAIN, **more: Any) -> dict[str, Any]:
    """A request to the service."""
    names = {"lora_name": space.lora, "cache_salt": space.salt}
    return {"model_name": MODEL, "token_ids": list(tokens)} | {k: v for k, v in names.items() if v} | more


def _worker(worker: int, dp_size: int, ports: dict[WorkerRank, int]) -> dict[str, Any]:
    return {
        "worker_id": worker,
        "model_name": MODEL,
        "endpoint": f"http://127.0.0.1:{worker}",
        "block_size": BLOCK_TOKENS,
        "data_parallel_size": dp_size,
        "total_kv_blocks": 1000,
        "max_num_batched_tokens": 8192,
        "kv_events_endpoints": {
            rank: f"tcp://127.0.0.1:{ports[WorkerRank(worker, rank)]}" for rank in range(dp_size)
        },
    }


def _marker(tokens: list[int], rank: int) -> bytes:
    event = {
        "type": "BlockStored",
        "block_hashes": [tokens[0]],
        "parent_block_hash": None,
        "token_ids": tokens,
        "block_size": BLOCK_TOKENS,
        "lora_id": None,
        "medium": "GPU",
        "lora_name": None,
    }
    return msgspec.msgpack.encode([0.0, [event], rank])
