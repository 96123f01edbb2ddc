"""The load driver against simulated engines and against servers that misbehave."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from epp.testing.engine import EngineConfig
from epp.testing.engine.fleet import EngineSpec, Fleet
from epp.testing.load import LoadSpec, Target, drive, make_plan, summarize
from tests.integration.peers import listening

CONFIG = EngineConfig(
    model="m", block_tokens=4, total_blocks=20_000, max_model_len=20_000, prefill_tokens_per_s=1e7,
    decode_tokens_per_s=1000.0, max_num_batched_tokens=20_000,
)  # fmt: skip
SPEC = LoadSpec(
    seconds=0.3, rate_per_s=100, chats=3, chat_turns=3, documents=2, document_words=30, system_words=20,
    one_off_words=20, question_words=5, max_tokens=4,
)  # fmt: skip


async def test_every_request_is_answered_measured_and_counted() -> None:
    seen: list[tuple[int, int]] = []
    async with Fleet([EngineSpec("e-0", CONFIG)]) as fleet:
        target = Target("127.0.0.1", fleet.addresses[0].port, "m")
        outcomes = await drive(
            make_plan(SPEC), target, deadline_s=60, progress=lambda done, total: seen.append((done, total))
        )
    summary = summarize(outcomes)
    assert (summary.requests, summary.errors) == (30, 0), summary.first_error
    assert seen[-1] == (30, 30)
    assert summary.per_worker == {"e-0": 30}
    assert 0 < summary.cached_tokens < summary.prompt_tokens
    assert all(0 < (o.ttft_s or 0) <= o.latency_s and o.completion_tokens == 4 for o in outcomes)


async def test_two_runs_ask_the_same_and_get_the_same_answers() -> None:
    answers: list[dict[int, str]] = []
    for _ in range(2):
        async with Fleet([EngineSpec("e-0", CONFIG)]) as fleet:
            target = Target("127.0.0.1", fleet.addresses[0].port, "m")
            spec = replace(SPEC, fixed_concurrency=True, max_in_flight=5)
            answers.append({o.index: o.answer for o in await drive(make_plan(spec), target, deadline_s=60)})
    assert answers[0] == answers[1]


@asynccontextmanager
async def server(answer: Callable[[asyncio.StreamWriter], None]) -> AsyncIterator[Target]:
    """Something that answers every connection in its own way."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        answer(writer)
        await reader.read()

    async with listening(handle) as port:
        yield Target("127.0.0.1", port, "m")


ONE = make_plan(replace(SPEC, seconds=0.01))


async def test_garbage_a_hang_up_and_a_refusal_are_errors_in_words() -> None:
    cases: dict[str, Callable[[asyncio.StreamWriter], None]] = {
        "not a status line": lambda writer: writer.write(b"what?\r\n\r\n"),
        "closed within the response": lambda writer: writer.close(),
        "status 503: full": lambda writer: writer.write(b"HTTP/1.1 503 No\r\ncontent-length: 4\r\n\r\nfull"),
    }
    for words, behaviour in cases.items():
        async with server(behaviour) as target:
            (outcome,) = await drive(ONE, target, deadline_s=60)
        assert words in outcome.error


async def test_what_never_answers_ends_at_the_deadline() -> None:
    async with server(lambda _: None) as target:
        (outcome,) = await drive(ONE, target, deadline_s=0.3)
    assert outcome.error == "unfinished at the deadline"


async def test_nobody_listening_is_an_error(refusing_port: int) -> None:
    (outcome,) = await drive(ONE, Target("127.0.0.1", refusing_port, "m"), deadline_s=60)
    assert outcome.status == 0
    assert outcome.error
