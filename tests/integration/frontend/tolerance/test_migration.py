"""Workers are killed under load, and no client notices: by the content of every answer."""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.integration.frontend.conftest import MODEL, Front, Site, until
from tests.integration.frontend.tolerance.reading import CHAT, COMPLETIONS, MESSAGES, READERS, RESPONSES
from tests.integration.frontend.tolerance.workers import Worker, metrics, tokens_known, working

CLIENTS = 24
KILLS = 3
AT_WORK = 6
"""Requests the next victim has to be serving."""
TOKENS = 60
SPEED = ("--prefill-tokens-per-s", "20000", "--decode-tokens-per-s", "40")
FAST = ("--prefill-tokens-per-s", "1000000", "--decode-tokens-per-s", "100000")

Kind = tuple[str, dict[str, Any]]
KINDS: dict[str, Kind] = {
    "chat stream": (CHAT, {"stream": True}),
    "chat stream with usage": (CHAT, {"stream": True, "stream_options": {"include_usage": True}}),
    "completion stream": (COMPLETIONS, {"stream": True}),
    "completion stream with usage": (
        COMPLETIONS,
        {"stream": True, "stream_options": {"include_usage": True}},
    ),
    "chat stream with ids": (CHAT, {"stream": True, "return_token_ids": True}),
    "chat stream to its own end": (CHAT, {"stream": True, "max_tokens": None, "ignore_eos": False}),
    "chat": (CHAT, {}),
    "completion": (COMPLETIONS, {}),
}
ANTHROPIC = "--enable-anthropic-api"
TRANSLATED: dict[str, Kind] = {
    "messages stream": (MESSAGES, {"stream": True}),
    "responses stream": (RESPONSES, {"stream": True}),
    "messages": (MESSAGES, {}),
    "responses": (RESPONSES, {}),
}


def body_of(kind: Kind, number: int) -> dict[str, Any]:
    path, more = kind
    words = f"Request {number}: tell me something long about the number {number * 7919}."
    prompt: Any = [{"role": "user", "content": words}] if path in (CHAT, MESSAGES) else words
    where = {CHAT: "messages", MESSAGES: "messages", RESPONSES: "input", COMPLETIONS: "prompt"}[path]
    limit = "max_output_tokens" if path == RESPONSES else "max_tokens"
    return {"model": MODEL, limit: TOKENS, "ignore_eos": True, **more, where: prompt}


@pytest.fixture(scope="module")
def undisturbed(site: Site, tiny_model: Path) -> Iterator[str]:
    """Where an engine that answers as all of them would, at once, is never killed."""
    worker = Worker("undisturbed", site.folder, tiny_model, FAST)
    with stage(site, [worker], ANTHROPIC, *model_flags(tiny_model)) as front:
        yield front.url


class Crowd:
    """Clients that ask one thing after the other until told to stop, and keep what they were answered."""

    def __init__(self, url: str, kinds: dict[str, Kind], session: aiohttp.ClientSession) -> None:
        self.url, self.kinds, self.session = url, kinds, session
        self.answers: list[tuple[str, dict[str, Any], bytes]] = []
        self.errors: list[str] = []
        self.stopping = False
        self._numbers = itertools.count()

    async def client(self, name: str) -> None:
        path = self.kinds[name][0]
        while not self.stopping:
            body = body_of(self.kinds[name], next(self._numbers))
            try:
                async with self.session.post(self.url + path, json=body) as response:
                    raw = await response.read()
            except (aiohttp.ClientError, TimeoutError) as error:
                self.errors.append(f"{name}: {error!r}")
                continue
            if response.status != 200:
                self.errors.append(f"{name}: {response.status} {raw[:300]!r}")
                continue
            self.answers.append((name, body, raw))

    async def compare(self, undisturbed: str) -> None:
        """Every answer with what is said to the same request at a URL that is left in peace."""
        for name, body, raw in self.answers:
            path = self.kinds[name][0]
            async with self.session.post(undisturbed + path, json=body) as response:
                calm = READERS[path](await response.read())
            assert READERS[path](raw) == calm, (name, body, raw)


async def kill_the_busiest(workers: list[Worker], kills: int, at_work: int = AT_WORK) -> None:
    """Again and again, whoever serves most; it comes back where it was."""
    for _ in range(kills):
        victim = await asyncio.to_thread(_busiest, workers, at_work)
        await asyncio.to_thread(victim.kill)
        await asyncio.to_thread(victim.start)


def _busiest(workers: list[Worker], at_work: int) -> Worker:
    until(lambda: max(worker.load()[0] for worker in workers) >= at_work, "a worker at work")
    return max(workers, key=lambda worker: worker.load()[0])


@contextlib.contextmanager
def stage(site: Site, workers: list[Worker], *flags: str) -> Iterator[Front]:
    with working(*workers):
        front = site.frontend(site.endpoints(*[w.entry() for w in workers]), *flags)
        try:
            front.listed().serves()
            until(lambda: tokens_known(front), "the model's tokenizer")
            yield front
        finally:
            front.child.stop()


async def crowded(
    url: str, kinds: dict[str, Kind], undisturbed: str, disturb: Callable[[], Any], clients: int = CLIENTS
) -> Crowd:
    """A crowd at ``url`` while ``disturb`` goes on; compared."""
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=100)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        crowd = Crowd(url, kinds, session)
        async with asyncio.TaskGroup() as tasks:
            for name in itertools.islice(itertools.cycle(kinds), clients):
                tasks.create_task(crowd.client(name))
            await disturb()
            crowd.stopping = True
        assert crowd.errors == []
        await crowd.compare(undisturbed)
        return crowd


def model_flags(model_dir: Path) -> tuple[str, ...]:
    return ("--model-path", str(model_dir), "--model-name", MODEL, "--breaker-open", "1s")


def moves(front: Front, kind: str, outcome: str = "migrated") -> float:
    counted = metrics(front.http, "model_migration_total")
    return sum(n for name, n in counted.items() if f'"{kind}"' in name and f'outcome="{outcome}"' in name)


@pytest.mark.parametrize(
    ("postprocess", "engine"), [("engine", "vllm"), ("frontend", "vllm"), ("frontend", "sglang")]
)
async def test_killed_workers(
    site: Site, tiny_model: Path, undisturbed: str, postprocess: str, engine: str
) -> None:
    workers = [
        Worker(f"{engine}-{postprocess}-{i}", site.folder, tiny_model, SPEED, engine=engine) for i in range(3)
    ]
    flags = ("--migration-limit", "6", "--postprocess", postprocess, ANTHROPIC, *model_flags(tiny_model))
    kinds = {n: kind for n, kind in KINDS.items() if postprocess == "engine" or "ids" not in n} | TRANSLATED
    with stage(site, workers, *flags) as front:
        crowd = await crowded(front.url, kinds, undisturbed, lambda: kill_the_busiest(workers, KILLS))
        assert sum(worker.kills for worker in workers) == KILLS
        assert moves(front, "ongoing_request") >= KILLS
        assert {name for name, _, _ in crowd.answers} == set(kinds)
        given_up = metrics(front.http, "model_migration_total")
        assert all('outcome="migrated"' in name for name in given_up), given_up


async def test_killed_halves_of_pairs(site: Site, tiny_model: Path, undisturbed: str) -> None:
    pairs = {
        role: [Worker(f"{role}-{i}", site.folder, tiny_model, SPEED, role) for i in range(2)]
        for role in ("prefill", "decode")
    }

    async def disturb() -> None:
        for _ in range(2):
            await kill_the_busiest(pairs["decode"], 1)
            await kill_the_busiest(pairs["prefill"], 1, at_work=0)

    workers = [*pairs["prefill"], *pairs["decode"]]
    with stage(site, workers, "--migration-limit", "6", *model_flags(tiny_model)) as front:
        crowd = await crowded(front.url, KINDS, undisturbed, disturb, clients=16)
        assert len(crowd.answers) >= 16
        assert moves(front, "ongoing_request") >= 2
        decided = metrics(front.http, "disaggregation_decisions_total")
        assert sum(n for name, n in decided.items() if 'decision="split"' in name) > 16, decided


async def test_the_whole_pool_dies_and_comes_back(site: Site, tiny_model: Path, undisturbed: str) -> None:
    workers = [Worker(f"all-{i}", site.folder, tiny_model, SPEED) for i in range(2)]

    def all_at_once() -> None:
        until(lambda: all(worker.load()[0] >= 3 for worker in workers), "workers at work")
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.start()

    patient = ("--migration-limit", "3", "--breaker-failures", "0")  # new requests wait, too
    with stage(site, workers, *patient, *model_flags(tiny_model)) as front:
        await crowded(front.url, KINDS, undisturbed, lambda: asyncio.to_thread(all_at_once), clients=8)
        assert moves(front, "ongoing_request") >= 3


async def test_a_stream_that_lost_its_worker_waits_for_a_busy_one(
    site: Site, tiny_model: Path, undisturbed: str
) -> None:
    """Each worker takes one request at a time, the others stand in line, and one worker is gone for good."""
    workers = [Worker(f"few-{i}", site.folder, tiny_model, SPEED) for i in range(2)]
    line = ("--active-decode-blocks-threshold", "0.0", "--queue-max-requests", "9")
    with stage(site, workers, "--migration-limit", "3", *line, *model_flags(tiny_model)) as front:

        def disturb() -> None:
            until(lambda: all(worker.load() == (1, 0) for worker in workers), "both at work")
            until(lambda: sum(metrics(front.http, "queued_requests").values()) > 0, "others wait")
            workers[0].kill()

        streams = {
            n: kind for n, kind in KINDS.items() if "stream" in kind[1] and "max_tokens" not in kind[1]
        }
        await crowded(front.url, streams, undisturbed, lambda: asyncio.to_thread(disturb), clients=5)
        assert moves(front, "ongoing_request") == 1
        assert sum(metrics(front.http, "queued_requests").values()) == 0


async def test_what_cannot_go_on_ends_with_an_error_event_and_is_counted(
    site: Site, tiny_model: Path
) -> None:
    workers = [Worker(f"stop-{i}", site.folder, tiny_model, SPEED) for i in range(2)]
    body = body_of((CHAT, {"stream": True, "stop": ["never said"], "max_tokens": 400}), 1)
    with stage(site, workers, "--migration-limit", "3", *model_flags(tiny_model)) as front:
        async with (
            aiohttp.ClientSession() as session,
            session.post(front.url + CHAT, json=body) as response,
        ):
            await response.content.readuntil(b'"content":"')
            until(lambda: any(worker.load()[0] for worker in workers), "a worker at work")
            next(worker for worker in workers if worker.load()[0]).kill()
            rest = await response.content.read()
        assert rest.endswith(b"data: [DONE]\n\n")
        assert b"The worker broke off before its answer was complete." in rest
        assert moves(front, "ongoing_request", "stop-strings") == 1
