"""The oracle with a stopwatch: the same calls, timed where they are made, so that the pipe costs nothing.

Runs under the interpreter that has Dynamo's wheel, as ``oracle_child`` does. Times are seconds of wall clock.
"""

import asyncio
import json
import time
from typing import Any

from dynamo.llm import compute_block_hash_for_seq
from oracle_child import Oracle, serve, stored


class TimingOracle(Oracle):
    """Adds the timed calls."""

    def time_hash(self, tokens: list[int], block_tokens: int, rounds: int) -> list[float]:
        """Seconds of each call, the list of Python ints made before."""
        taken = []
        for _ in range(rounds):
            begin_s = time.perf_counter()
            compute_block_hash_for_seq(tokens, block_tokens)
            taken.append(time.perf_counter() - begin_s)
        return taken

    def time_tree_apply(self, chains: list[list[Any]]) -> float:
        """Seconds to apply one stored event per chain ``[worker, names, local hashes]``, encoded before."""
        events = [
            (
                worker,
                json.dumps({"event_id": number, "dp_rank": 0, "data": stored(names, None, local)}).encode(),
            )
            for number, (worker, names, local) in enumerate(chains)
        ]
        begin_s = time.perf_counter()
        for worker, event in events:
            self._tree.apply_event(worker, event)
        return time.perf_counter() - begin_s

    def time_tree_find(self, local: list[int], rounds: int) -> list[float]:
        """Seconds of each question, its scores read."""
        taken = []
        for _ in range(rounds):
            begin_s = time.perf_counter()
            _ = self._tree.find_matches(local).scores
            taken.append(time.perf_counter() - begin_s)
        return taken

    async def time_select(self, requests: list[dict[str, Any]]) -> list[float]:
        """Seconds of each selection, one after the other."""
        taken = []
        for request in requests:
            begin_s = time.perf_counter()
            await self._service.select(request)
            taken.append(time.perf_counter() - begin_s)
        return taken

    async def time_pairs(self, requests: list[dict[str, Any]], clients: int) -> float:
        """Seconds to book and free each request, ``clients`` of them under way at a time."""
        waiting = iter(requests)

        async def client() -> None:
            for request in waiting:
                await self._service.select_and_reserve(request)
                await self._service.free_reservation(request["selection_id"])

        begin_s = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(clients)))
        return time.perf_counter() - begin_s


if __name__ == "__main__":
    serve(TimingOracle())
