"""Runs under the interpreter that has Dynamo's wheel: answers calls, one JSON object per line, in order.

A line is ``{"op": name, ...arguments}``; the answer is ``{"ok": result}`` or ``{"error": text}``. Imports
nothing of ours. Standard output belongs to the answers, so whatever the wheel prints goes to standard error.
"""

import asyncio
import json
import os
import sys
from typing import Any

from dynamo.llm import RadixTree, SelectionService, compute_block_hash_for_seq


def stored(names: list[int], parent: int | None, local: list[int]) -> dict[str, Any]:
    blocks = [
        {"block_hash": name, "tokens_hash": value, "mm_extra_info": None}
        for name, value in zip(names, local, strict=True)
    ]
    return {"stored": {"parent_hash": parent, "start_position": None, "blocks": blocks}}


class Oracle:
    """One method per call."""

    def __init__(self) -> None:
        self._tree = RadixTree()
        self._event_id = 0
        self._service: Any = None

    # --- pure functions and the tree -----------------------------------------------------------------

    def hash(self, prompts: list[dict[str, Any]]) -> list[list[int]]:
        """Local hashes of many prompts, each the keyword arguments of the wheel's function."""
        return [list(compute_block_hash_for_seq(**prompt)) for prompt in prompts]

    def tree_new(self) -> None:
        """Start with an empty tree."""
        self._tree = RadixTree()

    def tree_apply(self, changes: list[list[Any]]) -> list[str | None]:
        """Apply changes in order; per change, what the tree said against it."""
        return [self._change(*change) for change in changes]

    def tree_find(self, prompts: list[list[int]]) -> list[list[list[int]]]:
        """Per prompt (local hashes), ``[worker, rank, blocks]`` of everyone who has any."""
        found = [self._tree.find_matches(local).scores for local in prompts]
        return [[[worker, rank, blocks] for (worker, rank), blocks in scores.items()] for scores in found]

    def _change(self, kind: str, worker: int, rank: int, *facts: Any) -> str | None:
        self._event_id += 1
        data: Any = "cleared"
        if kind == "stored":
            data = stored(*facts)
        elif kind == "removed":
            data = {"removed": {"block_hashes": facts[0]}}
        event = {"event_id": self._event_id, "dp_rank": rank, "data": data}
        try:
            self._tree.apply_event(worker, json.dumps(event).encode())
        except RuntimeError as error:
            return str(error)
        return None

    # --- the selection service -----------------------------------------------------------------------

    async def service_new(self, threads: int, workers: list[dict[str, Any]]) -> None:
        """A new service that knows these workers; JSON has made text of the ranks."""
        if self._service is not None:
            self._service.shutdown()
        self._service = SelectionService(indexer_threads=threads)
        for worker in workers:
            endpoints = {int(rank): url for rank, url in worker["kv_events_endpoints"].items()}
            await self._service.upsert_worker({**worker, "kv_events_endpoints": endpoints})

    async def service(self, method: str, calls: list[list[Any]]) -> list[Any]:
        """Call one method of the service, once per list of arguments; an error becomes its text."""
        return [await self._call(method, *call) for call in calls]

    async def _call(self, method: str, *arguments: Any) -> Any:
        keywords = arguments[-1] if method == "add_output_block" else {}
        positional = arguments[:1] if method == "add_output_block" else arguments
        try:
            result = getattr(self._service, method)(*positional, **keywords)
            return await result if asyncio.isfuture(result) or asyncio.iscoroutine(result) else result
        except Exception as error:  # noqa: BLE001 -- whatever the wheel raises is an answer
            return {"error": str(error)}


async def _answer(oracle: Oracle, line: str) -> dict[str, Any]:
    call = json.loads(line)
    try:
        result = getattr(oracle, call.pop("op"))(**call)
        return {"ok": await result if asyncio.iscoroutine(result) else result}
    except Exception as error:  # noqa: BLE001 -- the caller raises it
        return {"error": f"{type(error).__name__}: {error}"}


def serve(oracle: Oracle) -> None:
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    loop = asyncio.new_event_loop()
    for line in sys.stdin:
        answers.write(json.dumps(loop.run_until_complete(_answer(oracle, line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve(Oracle())
