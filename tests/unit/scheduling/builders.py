"""Candidates and contexts in one line each."""

from typing import Any

from epp.config.model import PickerConfig
from epp.config.pickerconfig import read_picker_body
from epp.config.tree import Fields, read_document
from epp.core.endpoints import Endpoint, Role, WorkerRank
from epp.core.router import CandidateTerms, LoadSample, Phase
from epp.core.scheduling.building import BuiltPolicy, build_policy
from epp.core.scheduling.context import Candidate, LoraState, SchedulingContext


def candidate(
    worker: int,
    *,
    rank: int = 0,
    phase: Phase = Phase.AGGREGATED,
    waiting: int = 0,
    running: int = 0,
    kv: float = 0.0,
    known: bool = True,
    cached: int = 0,
    blocks: int = 10,
    prefill_tokens: int = 0,
    active: int = 0,
    rate: float = 0.0,
    labels: dict[str, str] | None = None,
    role: Role = Role.AGGREGATED,
    lora: LoraState | None = None,
) -> Candidate:
    """``cached`` and ``blocks`` are in blocks of 16 tokens."""
    endpoint = Endpoint(f"pod-{worker}", f"10.0.0.{worker}", 8000, worker, role=role, labels=labels or {})
    terms = CandidateTerms(
        worker=WorkerRank(worker, rank),
        phase=phase,
        device_blocks=cached,
        host_blocks=0,
        disk_blocks=0,
        request_blocks=blocks,
        cached_tokens=cached * 16,
        uncached_tokens=float((blocks - cached) * 16),
        active_prefill_tokens=prefill_tokens,
        potential_decode_blocks=0,
        active_requests=active,
        load=LoadSample(waiting, running, kv),
        prefill_tokens_per_s=rate,
        predicted_ttft_s=0.0,
        cost=0.0,
    )
    return Candidate(endpoint, rank, terms, load_known=known, lora=lora)


def context(*candidates: Candidate, **fields: Any) -> SchedulingContext:
    return SchedulingContext(candidates=candidates, now_s=fields.pop("now_s", 0.0), **fields)


def picker_config(text: str) -> PickerConfig:
    return read_picker_body(Fields(read_document(text, "f"), "", "f"), "f")


def build(text: str, **options: Any) -> BuiltPolicy:
    return build_policy(picker_config(text), clock=options.pop("clock", lambda: 0.0), **options)


def plugin(type_: str, parameters: str = "{}") -> Any:
    """One plugin, made as a configuration makes it."""
    built = build(f"plugins: [{{type: {type_}, parameters: {parameters}}}]")
    (profile,) = built.policy.profiles
    entries = [*(f.filter for f in profile.filters), *(s.scorer for s in profile.scorers)]
    return entries[0] if entries else profile.picker
