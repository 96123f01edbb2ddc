"""Time to first token as the event stream tells it, beside what a client measures."""

import json
import os
import random
from collections.abc import Callable
from statistics import quantiles

import pytest

from .conftest import Engines, StageFor
from .exchange import Asked
from .prompts import tokens

_REQUESTS = 40
_ANSWER_TOKENS = 60
"""Enough that a busy machine's late event still comes before the end of the stream."""
_LENGTHS = (40, 100, 300, 700, 1500, 3000)


async def test_every_computed_prompt_has_a_time_from_events(
    engines: Engines,
    stage_for: StageFor,
    record_property: Callable[[str, object], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Times are reported and not judged: they are this machine's."""
    chooser = random.Random(3)
    async with stage_for(engines.wide) as stage:
        await stage.complete(tokens("warm", 500))  # its event tells the block size
        asked: list[Asked] = []
        for number in range(_REQUESTS):
            prompt = tokens(("ttft", number), chooser.choice(_LENGTHS) + chooser.randrange(30))
            asked.append(
                await stage.complete(prompt, max_tokens=_ANSWER_TOKENS, ignore_eos=True, stream=True)
            )
        told = [one for one in asked if one.pick["ttft_source"] == "events"]
        report = _report(told) | {"lost": _REQUESTS - len(told), "load": os.getloadavg()[0]}
        with capsys.disabled():
            print("\n" + json.dumps(report))  # noqa: T201 -- the figures are what one runs this for
        record_property("ttft", report)
        assert all(0 < one.pick["ttft_ms"] < one.pick["duration_ms"] for one in told)
        assert all(one.predicted == 0 for one in asked)
        assert len(told) >= _REQUESTS * 0.9, "an event that comes after the stream's end is lost"


def _report(asked: list[Asked]) -> dict[str, object]:
    """Client minus picker, milliseconds."""
    lags = [_client_ms(one) - one.pick["ttft_ms"] for one in asked]
    cuts = quantiles(lags, n=20, method="inclusive")
    rows = sorted((one.prompt_tokens, round(_client_ms(one), 2), one.pick["ttft_ms"]) for one in asked)
    return {
        "name": "client_minus_event_ttft_ms",
        "requests": len(asked),
        "min": round(min(lags), 2),
        "p50": round(cuts[9], 2),
        "p90": round(cuts[17], 2),
        "p95": round(cuts[18], 2),
        "max": round(max(lags), 2),
        "within_5_ms": sum(abs(lag) <= 5 for lag in lags),
        "prompt_tokens_client_ms_event_ms": rows,
    }


def _client_ms(one: Asked) -> float:
    assert one.exchange.first_event_s is not None
    return (one.exchange.first_event_s - one.exchange.sent_s) * 1e3
