"""Other policies and other ways to follow the response."""

from pathlib import Path

import pytest

from epp.testing.envoy_config import BodyModeName

from .conftest import Stage, ask, cached, chat, prose, staged, until, usable

pytestmark = pytest.mark.envoy

_SCORERS = """\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: queue-scorer
- type: prefix-cache-scorer
- type: session-affinity-scorer
- type: max-score-picker
schedulingProfiles:
- name: default
  plugins:
  - pluginRef: queue-scorer
  - pluginRef: prefix-cache-scorer
    weight: 3
  - pluginRef: session-affinity-scorer
"""


async def test_options(tmp_path: Path, model_dir: Path) -> None:
    """One set of engines for all of them: starting engines is what takes long."""
    async with staged(tmp_path, model_dir) as stage:
        await stage.engines("engine", 2)
        await scorers_choose_as_the_file_says(stage)
        await a_skipped_response_leaves_its_booking_to_the_lease(stage)
        await usage_is_read_from_responses(stage)


async def scorers_choose_as_the_file_says(stage: Stage) -> None:
    config = stage.folder / "scorers.yaml"
    config.write_text(_SCORERS)
    picker = await stage.picker("scorers", "--config-file", config)
    client = await stage.gateway([picker])
    await picker.sees(2)
    body = chat(prose(60, "score"))
    await ask(client, body, "score-1")
    await picker.knows(body)
    answer = await client.post("/v1/chat/completions", json=body, headers={"x-request-id": "score-2"})
    pick = await picker.pick("score-2")
    assert (answer.status_code, pick["policy"]) == (200, "scorers")
    assert cached(answer.json()) == usable(pick) > 0
    best = max(pick["scores"], key=lambda row: row["total"])
    assert best["worker_id"] == pick["worker"]["worker_id"]
    assert set(best["scores"]) == {"queue-scorer", "prefix-cache-scorer", "session-affinity-scorer"}
    assert answer.headers["x-session-token"], "the client's part of session affinity"


async def a_skipped_response_leaves_its_booking_to_the_lease(stage: Stage) -> None:
    picker = await stage.picker("skipping", "--skip-response", "--detached-lease", "2s")
    client = await stage.gateway([picker])
    await ask(client, chat(prose(60, "skip")), "skip")

    async def detached() -> bool:
        return 'epp_extproc_requests_finished_total{ending="detached"} 1.0' in await picker.metrics()

    await until(detached, "the end of the picker's part")
    await until(picker.is_idle, "the end of the lease")
    assert (await picker.pick("skip"))["ended"] == "lease-ended"


async def usage_is_read_from_responses(stage: Stage) -> None:
    picker = await stage.picker("observing", "--observe-response")
    client = await stage.gateway([picker], response_body=BodyModeName.FULL_DUPLEX_STREAMED)
    await ask(client, chat(prose(60, "usage"), max_tokens=7), "usage")
    await until(picker.is_idle, "an idle picker")
    (line,) = [
        s
        for s in (await picker.metrics()).splitlines()
        if s.startswith("llm_d_epp_request_output_tokens_sum")
    ]
    assert line.endswith(" 7.0")
