"""A simulated engine over real sockets, read by independent clients: aiohttp, pyzmq, msgpack."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import aiohttp
import msgspec
import pytest
import yaml
import zmq
import zmq.asyncio
from prometheus_client.parser import text_string_to_metric_families

from epp.testing.engine import EngineConfig
from epp.testing.engine.fleet import EngineSpec, Fleet, endpoints_file

CONFIG = EngineConfig(
    model="m",
    loras=("ad",),
    block_tokens=4,
    total_blocks=300,
    max_model_len=1000,
    prefill_tokens_per_s=1e6,
    decode_tokens_per_s=1000.0,
)
SLOW = EngineConfig(
    model="m", block_tokens=4, total_blocks=3000, max_model_len=10_000, decode_tokens_per_s=20.0
)
HELLO = {"messages": [{"role": "user", "content": "hello, engine"}], "max_tokens": 6}


class Client:
    """One engine, as seen from outside."""

    def __init__(self, fleet: Fleet, session: aiohttp.ClientSession) -> None:
        self.address = fleet.addresses[0]
        self.runner = fleet.runners[0]
        self.session = session

    async def post(self, path: str, body: object, **headers: str) -> tuple[int, Any, Any]:
        url = f"http://{self.address.host_port}{path}"
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.session.post(url, data=data, headers=headers) as response:
            raw = await response.read()
            kind = response.content_type
            return response.status, json.loads(raw) if kind == "application/json" else raw, response.headers

    async def get(self, path: str) -> bytes:
        async with self.session.get(f"http://{self.address.host_port}{path}") as response:
            assert response.status == 200
            return await response.read()

    async def metric(self, name: str) -> float:
        page = (await self.get("/metrics")).decode()
        return next(
            sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if sample.name == name
        )


async def started(config: EngineConfig) -> AsyncIterator[Client]:
    spec = EngineSpec("e-0", config, replay_batches=8)
    async with Fleet([spec]) as fleet, aiohttp.ClientSession() as session:
        yield Client(fleet, session)


@pytest.fixture
async def engine() -> AsyncIterator[Client]:
    async for client in started(CONFIG):
        yield client


@pytest.fixture
async def slow() -> AsyncIterator[Client]:
    async for client in started(SLOW):
        yield client


async def eventually(client: Client, name: str, value: float) -> None:
    async with asyncio.timeout(60):
        while await client.metric(name) != value:
            await asyncio.sleep(0.01)


async def test_a_whole_answer_and_its_stream_are_the_same_text(engine: Client) -> None:
    status, whole, headers = await engine.post("/v1/chat/completions", HELLO)
    assert status == 200
    assert headers["x-served-by"] == "e-0"
    assert whole["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    status, raw, headers = await engine.post("/v1/chat/completions", {**HELLO, "stream": True})
    assert headers["content-type"].startswith("text/event-stream")
    *chunks, done = [line.removeprefix(b"data: ") for line in raw.split(b"\n\n") if line]
    assert done == b"[DONE]"
    deltas = [json.loads(chunk)["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert "".join(delta["content"] for delta in deltas) == whole["choices"][0]["message"]["content"]


async def test_a_repeated_prompt_is_reported_and_counted_as_cached(engine: Client) -> None:
    answers = [await engine.post("/v1/chat/completions", HELLO) for _ in range(2)]
    usages = [answer[1]["usage"] for answer in answers]
    prompt = usages[0]["prompt_tokens"]
    expected = (prompt - 1) // 4 * 4
    assert [usage["prompt_tokens_details"]["cached_tokens"] for usage in usages] == [0, expected]
    assert await engine.metric("vllm:prefix_cache_hits_total") == expected
    assert await engine.metric("vllm:prefix_cache_queries_total") == 2 * prompt


async def test_usage_ends_a_stream_when_asked_for(engine: Client) -> None:
    body = {**HELLO, "stream": True, "stream_options": {"include_usage": True}}
    _, raw, _ = await engine.post("/v1/chat/completions", body)
    usage = json.loads(raw.split(b"\n\n")[-3].removeprefix(b"data: "))
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 6


async def test_completions_take_text_and_ids(engine: Client) -> None:
    status, answer, _ = await engine.post("/v1/completions", {"prompt": [5, 6, 7], "max_tokens": 2})
    assert (status, answer["usage"]["prompt_tokens"], answer["object"]) == (200, 3, "text_completion")
    status, answer, _ = await engine.post("/v1/completions", {"prompt": "ab", "model": "ad"})
    assert (status, answer["usage"]["prompt_tokens"], answer["model"]) == (200, 3, "ad")


async def test_tokenize_agrees_with_usage(engine: Client) -> None:
    _, tokens, _ = await engine.post("/tokenize", HELLO)
    _, answer, _ = await engine.post("/v1/chat/completions", HELLO)
    assert tokens["count"] == len(tokens["tokens"]) == answer["usage"]["prompt_tokens"]
    assert tokens["max_model_len"] == 1000


async def test_a_long_body_takes_the_same_way(slow: Client) -> None:
    status, answer, _ = await slow.post("/v1/completions", {"prompt": "x" * 9_000, "max_tokens": 1})
    assert (status, answer["usage"]["prompt_tokens"]) == (200, 9_001)


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ({**HELLO, "model": "nope"}, {}, 404),
        ({**HELLO, "max_tokens": 5000}, {}, 400),
        (b"{", {}, 400),
        (HELLO, {"x-data-parallel-rank": "1"}, 400),
        (HELLO, {"x-data-parallel-rank": "x"}, 400),
    ],
)
async def test_errors_are_worded_as_vllm_does(
    engine: Client, body: object, headers: dict[str, str], status: int
) -> None:
    got, answer, _ = await engine.post("/v1/chat/completions", body, **headers)
    assert (got, answer["error"]["code"]) == (status, status)


async def test_health_and_models(engine: Client) -> None:
    assert await engine.get("/health") == b""
    cards = json.loads(await engine.get("/v1/models"))["data"]
    assert [(card["id"], card["parent"]) for card in cards] == [("m", None), ("ad", "m")]
    assert cards[0]["max_model_len"] == 1000


async def test_the_request_id_is_in_the_answer(engine: Client) -> None:
    _, answer, _ = await engine.post("/v1/chat/completions", HELLO, **{"x-request-id": "mine"})
    assert answer["id"] == "chatcmpl-mine"


async def test_a_client_that_leaves_frees_its_blocks(slow: Client) -> None:
    body = {**HELLO, "max_tokens": 5000, "ignore_eos": True, "stream": True}
    url = f"http://{slow.address.host_port}/v1/chat/completions"
    async with slow.session.post(url, json=body) as response:
        await response.content.readany()
        assert await slow.metric("vllm:num_requests_running") == 1
        response.close()
    await eventually(slow, "vllm:num_requests_running", 0)
    assert await slow.metric("vllm:kv_cache_usage_perc") == 0


async def test_prefill_and_decode_hand_over(engine: Client) -> None:
    prompt = list(range(100))
    ask = {"prompt": prompt, "max_tokens": 1, "kv_transfer_params": {"do_remote_decode": True}}
    _, answer, _ = await engine.post("/v1/completions", ask)
    params = answer["kv_transfer_params"]
    assert (params["do_remote_prefill"], params["remote_num_tokens"]) == (True, 100)
    async for decode in started(CONFIG):
        body = {"prompt": prompt, "max_tokens": 3, "kv_transfer_params": params}
        status, answer, _ = await decode.post("/v1/completions", body)
        assert (status, answer["usage"]["prompt_tokens_details"]["cached_tokens"]) == (200, 0)
        assert await decode.metric("vllm:external_prefix_cache_hits_total") == 99


# --- KV events -----------------------------------------------------------------------------------------


class Replay:
    """A DEALER that asks for batches again."""

    def __init__(self, context: zmq.asyncio.Context, port: int) -> None:
        self.socket: Any = context.socket(zmq.DEALER)
        self.socket.connect(f"tcp://127.0.0.1:{port}")

    async def since(self, first: int) -> list[tuple[int, Any]]:
        await self.socket.send_multipart((b"", first.to_bytes(8, "big")))
        found: list[tuple[int, Any]] = []
        async with asyncio.timeout(60):
            while True:
                empty, topic, number, payload = await self.socket.recv_multipart()
                assert empty == b""
                if number == b"\xff" * 8:
                    assert (topic, payload) == (b"", b"")
                    return found
                assert topic.startswith(b"kv@127.0.0.1:")
                found.append((int.from_bytes(number, "big"), msgspec.msgpack.decode(payload)))


@pytest.fixture
def context() -> Iterator[zmq.asyncio.Context]:
    made = zmq.asyncio.Context()
    yield made
    made.destroy(linger=0)


@pytest.fixture
def replays(context: zmq.asyncio.Context) -> Iterator[Callable[[int | None], Replay]]:
    made: list[Replay] = []

    def replay(port: int | None) -> Replay:
        made.append(Replay(context, port or 0))
        return made[-1]

    yield replay
    for each in made:
        each.socket.close(linger=0)


async def test_published_and_replayed_events_are_the_same(
    engine: Client, context: zmq.asyncio.Context, replays: Callable[[int | None], Replay]
) -> None:
    sub: Any = context.socket(zmq.SUB)
    sub.connect(f"tcp://127.0.0.1:{engine.address.kv_events_port}")
    sub.subscribe("")
    replay = replays(engine.address.kv_replay_port)
    async with asyncio.timeout(60):
        while not await sub.poll(50):  # a subscription takes effect some time after it was asked for
            await engine.post("/v1/completions", {"prompt": list(range(40)), "max_tokens": 1})
            await engine.post("/reset_prefix_cache", b"")
        while await sub.poll(0):  # the last one: of those before it the buffer for replays may have let go
            topic, number, payload = await sub.recv_multipart()
    assert topic == f"kv@{engine.address.host_port}@m".encode()
    first = int.from_bytes(number, "big")
    replayed = dict(await replay.since(first))
    assert replayed[first] == msgspec.msgpack.decode(payload)


async def test_replay_keeps_the_newest_batches(
    engine: Client, replays: Callable[[int | None], Replay]
) -> None:
    replay = replays(engine.address.kv_replay_port)
    assert await replay.since(0) == []
    for index in range(10):
        await engine.post("/v1/completions", {"prompt": [index] * 8, "max_tokens": 1})
    batches = await replay.since(0)
    assert [number for number, _ in batches] == list(range(2, 10)), "the buffer holds eight"
    assert [number for number, _ in await replay.since(8)] == [8, 9]
    stored = batches[-1][1][1][0]
    assert (stored["type"], stored["token_ids"], stored["medium"]) == ("BlockStored", [9] * 8, "GPU")


async def test_a_malformed_replay_request_is_ignored(
    engine: Client, replays: Callable[[int | None], Replay]
) -> None:
    replay = replays(engine.address.kv_replay_port)
    await replay.socket.send_multipart((b"", b"nonsense, and long"))
    assert await replay.since(0) == []


async def test_a_reset_is_announced_with_the_next_request(
    engine: Client, replays: Callable[[int | None], Replay]
) -> None:
    replay = replays(engine.address.kv_replay_port)
    await engine.post("/v1/completions", {"prompt": [1] * 8, "max_tokens": 1})
    _, answer, _ = await engine.post("/reset_prefix_cache", b"")
    assert answer == {"success": True}
    assert len(await replay.since(0)) == 1
    await engine.post("/v1/completions", {"prompt": [1] * 8, "max_tokens": 1})
    (_, batch) = (await replay.since(1))[0]
    assert [event["type"] for event in batch[1]] == ["AllBlocksCleared", "BlockStored"]


async def test_ranks_have_caches_and_consecutive_ports_of_their_own(
    replays: Callable[[int | None], Replay],
) -> None:
    config = EngineConfig(model="m", block_tokens=4, total_blocks=300, max_model_len=1000, dp_size=2,
                          decode_tokens_per_s=1000.0)  # fmt: skip
    async for client in started(config):
        for rank, cached in ((1, 0), (0, 0), (1, 4)):
            headers = {"x-data-parallel-rank": str(rank)}
            _, answer, _ = await client.post(
                "/v1/completions", {"prompt": [1] * 8, "max_tokens": 1}, **headers
            )
            assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == cached
        replay = replays((client.address.kv_replay_port or 0) + 1)
        batches = await replay.since(0)
        assert {batch[2] for _, batch in batches} == {1}


async def test_a_fleet_is_several_engines_with_one_endpoints_file() -> None:
    specs = [EngineSpec(f"e-{index}", CONFIG, role="decode", kv_events=index == 0) for index in range(2)]
    async with Fleet(specs) as fleet, aiohttp.ClientSession() as session:
        for address in fleet.addresses:
            async with session.get(f"http://{address.host_port}/health") as response:
                assert response.status == 200
        first, second = yaml.safe_load(endpoints_file(fleet.addresses))["endpoints"]
    assert first["kv_events"] == f"tcp://127.0.0.1:{fleet.addresses[0].kv_events_port}"
    assert (second["name"], second["role"], second["port"]) == ("e-1", "decode", str(fleet.addresses[1].port))
    assert "kv_events" not in second


async def test_a_taken_port_is_refused_and_leaves_nothing_behind() -> None:
    async with Fleet([EngineSpec("a", CONFIG)]) as fleet:
        with pytest.raises(OSError, match="in use"):
            async with Fleet(
                [EngineSpec("b", CONFIG), EngineSpec("c", CONFIG, port=fleet.addresses[0].port)]
            ):
                raise AssertionError("unreachable")
