"""Pages of every engine to load and facts."""

from pathlib import Path

import pytest

from epp.core.endpoints import EngineKind
from epp.core.router import LoadSample
from epp.wire.enginemetrics import TABLE, LoraFacts, PageFacts, PageReader, WorkerFacts

GOLDEN = Path(__file__).parents[2] / "golden" / "promtext"


def read(engine: EngineKind, dp_size: int = 1) -> PageFacts:
    return PageReader(engine, dp_size).read((GOLDEN / f"{engine.value}.prom").read_bytes())


def test_every_engine_has_names_and_a_golden_page() -> None:
    assert set(TABLE) == set(EngineKind)
    assert {path.stem for path in GOLDEN.glob("*.prom")} == {engine.value for engine in EngineKind}


def test_vllm_ranks() -> None:
    facts = read(EngineKind.VLLM, dp_size=2)
    assert facts.loads == {0: LoadSample(7, 3, 0.25), 1: LoadSample(0, 5, 0.5)}
    assert facts.worker == WorkerFacts(
        block_tokens=32,
        total_blocks=510,
        lora=LoraFacts(frozenset({"adA", "adB"}), frozenset({"adC"}), 4),
    )


def test_vllm_as_one_rank_of_a_larger_deployment() -> None:
    page = b'vllm:num_requests_running{engine="3"} 2\nvllm:num_requests_waiting{engine="3"} 1\n'
    assert PageReader(EngineKind.VLLM).read(page).loads == {0: LoadSample(1, 2, 0.0)}


def test_ranks_beyond_the_known_ones_are_left_out() -> None:
    page = b'vllm:num_requests_running{engine="1"} 2\nvllm:num_requests_running{engine="7"} 9\n'
    assert PageReader(EngineKind.VLLM, 2).read(page).loads == {1: LoadSample(0, 2, 0.0)}


@pytest.mark.parametrize(
    ("engine", "load", "worker"),
    [
        (EngineKind.SGLANG, LoadSample(2, 4, 0.75), WorkerFacts(64, 1024)),
        (EngineKind.TRTLLM, LoadSample(1, 2, 0.125), WorkerFacts(32, 2048)),
        (EngineKind.TRITON_TRTLLM, LoadSample(6, 9, 0.5), WorkerFacts(64, 4096)),
        (EngineKind.TRITON, LoadSample(3, 15, 0.0), WorkerFacts()),
    ],
)
def test_other_engines(engine: EngineKind, load: LoadSample, worker: WorkerFacts) -> None:
    facts = read(engine)
    assert facts.loads == {0: load}
    assert facts.worker == worker


def test_a_page_of_another_engine_has_no_load() -> None:
    page = (GOLDEN / "sglang.prom").read_bytes()
    assert PageReader(EngineKind.VLLM).read(page) == PageFacts()


def test_nonsense_is_bounded() -> None:
    page = (
        b"vllm:num_requests_running -4\nvllm:num_requests_waiting 1e300\nvllm:kv_cache_usage_perc 42\n"
        b'vllm:cache_config_info{block_size="None",num_gpu_blocks="99999999999999999999"} 1\n'
    )
    facts = PageReader(EngineKind.VLLM).read(page)
    assert facts.loads == {0: LoadSample(1 << 53, 0, 1.0)}
    assert facts.worker == WorkerFacts()


def test_a_reader_goes_on_reading_as_the_page_grows() -> None:
    reader = PageReader(EngineKind.VLLM)
    page = b"x 0\n" * 3000 + b"vllm:num_requests_running 1\nvllm:num_requests_waiting 2\n"
    assert reader.read(page).loads == {0: LoadSample(2, 1, 0.0)}
    assert reader.read(b"y 0\n" * 3000 + page).loads == {0: LoadSample(2, 1, 0.0)}
    assert reader.read(page[-60:]).loads == {0: LoadSample(2, 1, 0.0)}


def test_a_whole_page_of_a_real_vllm() -> None:
    page = (GOLDEN / "whole" / "vllm-0.32.0.prom").read_bytes()
    facts = PageReader(EngineKind.VLLM).read(page)
    assert facts.loads == {0: LoadSample(0, 0, 0.0)}
    assert (facts.worker.block_tokens, facts.worker.total_blocks) == (32, 512)
