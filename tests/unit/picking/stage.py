"""The spine without sockets: a real router, fleet and picker, a tokenizer of bytes, a clock in hand."""

import dataclasses
import io
import itertools
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry

from epp.config.model import Config, EventsConfig, ModelConfig, RoutingConfig, ServerConfig, TokenizeConfig
from epp.core.endpoints import Endpoint, PoolSnapshot, Role, WorkerRank
from epp.core.kvindex.reference import ReferenceRouter
from epp.core.outcomes import Picked, PickInput
from epp.core.poolrules import PoolRules
from epp.core.requests import ChatPrompt, Prompt, TokenPrompt
from epp.core.router import ApplyReport, BlocksStored, Policy, RouterOptions
from epp.core.tokens import Exactness, Tokenized
from epp.engine import make_chooser
from epp.picking.active import ActiveRequests
from epp.picking.fleet import Fleet
from epp.picking.inspecting import InspectedParts, PickerInspector, Readiness
from epp.picking.names import ModelNames
from epp.picking.picker import PickerParts, RequestPicker
from epp.picking.recording import Recorder
from epp.telemetry.catalog import Catalog
from epp.telemetry.logs import FieldLog, LineWriter
from epp.telemetry.recent import RecentDecisions
from epp.telemetry.requests import RequestMetrics
from epp.wire.kvevents import decode

MODEL = "llama"
BLOCK = 4
"""Tokens per block of every worker here."""


def u32(*ids: int) -> bytes:
    return b"".join(i.to_bytes(4, "little") for i in ids)


class WordTokenizer:
    """One id per word of the last message, the same for the same word; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Prompt]] = []
        self.degraded: str | None = None
        self.exactness = Exactness.EXACT

    async def tokenize(self, model: str, prompt: Prompt) -> Tokenized:
        self.asked.append((model, prompt))
        if self.degraded is not None:
            return Tokenized(b"", Exactness.NONE, 0, self.degraded)
        if isinstance(prompt, TokenPrompt):
            tokens = prompt.tokens
        else:
            tokens = tokens_of(
                str(prompt.messages[-1]["content"]) if isinstance(prompt, ChatPrompt) else prompt.texts[0]
            )
        return Tokenized(tokens, self.exactness, len(tokens) // 4)


def tokens_of(text: str) -> bytes:
    return u32(*(int.from_bytes(word.encode()[:3], "little") for word in text.split()))


def words(count: int, first: str = "w") -> str:
    return " ".join(f"{first}{i:02}"[:3] for i in range(count))


def endpoint(worker_id: int, **fields: Any) -> Endpoint:
    return Endpoint(
        **{
            "name": f"pod-{worker_id}",
            "address": f"10.0.0.{worker_id}",
            "port": 8000,
            "worker_id": worker_id,
            "kv_events": f"tcp://10.0.0.{worker_id}:5557",
        }
        | fields
    )


CONFIG = Config(
    server=ServerConfig(trust_client_headers=True),
    tokenize=TokenizeConfig(models=(ModelConfig(MODEL, "unused"),)),
    routing=RoutingConfig(policy=Policy.KV.value, core="python"),
    events=EventsConfig(),
)


class Spine:
    """Everything between a door and the workers."""

    def __init__(self, *endpoints: Endpoint, config: Config = CONFIG, bookings: int = 100) -> None:
        self.now_s = 100.0
        self._names = itertools.count(1)
        self.lines = io.StringIO()
        self.writer = LineWriter(self.lines)
        self.catalog = Catalog(CollectorRegistry())
        self.metrics = RequestMetrics(self.catalog)
        self.router = ReferenceRouter(RouterOptions(max_bookings=bookings), decode)
        self.active = ActiveRequests(self.router, self.metrics, max_lingering=bookings // 16)
        self.fleet = Fleet(self.router, use_events=True, stale_after_s=5.0, on_gone=self._on_gone)
        self.tokenizer = WordTokenizer()
        self.recent = RecentDecisions(config.telemetry.recent_picks)
        self.sent: list[WorkerRank] = []
        self.rules = PoolRules()
        chooser = make_chooser(config, self.fleet, lambda: self.now_s)
        self.picker = RequestPicker(
            config,
            PickerParts(
                fleet=self.fleet,
                chooser=chooser,
                tokenizer=self.tokenizer,
                active=self.active,
                names=ModelNames(config.tokenize.models, self.fleet.has_adapter),
                recorder=Recorder(
                    self.active,
                    self.metrics,
                    self.recent,
                    FieldLog(self.writer, json=False),
                    lambda: 1_700_000_000.0,
                ),
                on_sent=lambda target, _: self.sent.append(target),
                clock=lambda: self.now_s,
                rules=self.rules,
            ),
        )
        self.inspector = PickerInspector(
            config,
            InspectedParts(
                self.picker,
                self.fleet,
                self.active,
                self.recent,
                self.catalog,
                chooser,
                lambda: Readiness(ready=True, parts={}),
                lambda: self.now_s,
            ),
        )
        self.pool(*(endpoints or (endpoint(1), endpoint(2))))

    def pool(self, *endpoints: Endpoint) -> None:
        self.fleet.replace(PoolSnapshot.of(endpoints, self.fleet.snapshot.generation + 1))

    def _on_gone(self, gone: Endpoint, bookings: tuple[int, ...]) -> None:
        for booking in bookings:
            self.active.on_dropped(booking, self.now_s)
        self.metrics.forget(gone)

    def stored(
        self, worker: int, tokens: bytes, *, lora: str = "", salt: str = "", rank: int = 0
    ) -> ApplyReport:
        """The worker's event stream says that it holds the full blocks of these tokens."""
        full = len(tokens) // (4 * BLOCK)
        event = BlocksStored(
            engine_hashes=tuple(next(self._names) for _ in range(full)),
            parent_engine_hash=None,
            tokens=tokens[: full * 4 * BLOCK],
            block_tokens=BLOCK,
            lora=lora,
            salt=salt,
        )
        target = WorkerRank(worker, rank)
        report = self.fleet.apply(target, [event], self.now_s)
        self.active.on_report(target, report)
        return report

    def learn_block_size(self) -> None:
        """Every worker has published something before, as workers in service have."""
        for worker_id in self.fleet.states:
            self.stored(worker_id, tokens_of(words(BLOCK, "z")))

    async def pick(self, text: str = "hello", **fields: Any) -> Any:
        return await self.picker.pick(chat(text, **fields))

    async def picked(self, text: str = "hello", **fields: Any) -> Picked:
        outcome = await self.pick(text, **fields)
        assert isinstance(outcome, Picked), outcome
        return outcome

    def log(self) -> list[str]:
        self.writer.flush()
        return self.lines.getvalue().splitlines()

    def value(self, name: str, **labels: str) -> float | None:
        return self.catalog.registry.get_sample_value(name, labels)

    def total(self, name: str) -> float:
        """A counter summed over its labels."""
        return sum(
            sample.value
            for metric in self.catalog.registry.collect()
            for sample in metric.samples
            if sample.name == name
        )


def chat(
    text: str,
    *,
    model: str = MODEL,
    headers: dict[str, str] | None = None,
    subset: tuple[str, ...] | None = None,
    request_id: str = "",
    **body: Any,
) -> PickInput:
    fields = {"model": model, "messages": [{"role": "user", "content": text}], **body}
    return PickInput(
        "POST", "/v1/chat/completions", headers or {}, msgspec.json.encode(fields), subset, request_id
    )


def configured(**routing: Any) -> Config:
    return dataclasses.replace(CONFIG, routing=dataclasses.replace(CONFIG.routing, **routing))


def pair() -> tuple[Endpoint, Endpoint]:
    """A prefill and a decode worker."""
    return endpoint(1, role=Role.PREFILL), endpoint(2, role=Role.DECODE)
