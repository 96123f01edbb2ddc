"""What is looked at behind every gateway."""

import asyncio
from collections import Counter

import httpx

from tests.interop.gateways.pods import Pod
from tests.interop.gateways.stage import Stage

_ONE_BY_ONE = 40
_AT_ONCE = 200
_LONG_WORDS = (60_000, 300_000)
_SETTLED = 10
_IN_A_ROW = 30
_WAIT_S = 180.0
_PAUSE_S = 0.1


async def follows_every_pick(stage: Stage) -> None:
    """The worker that answers is the one that was picked for this request."""
    async with httpx.AsyncClient() as client:
        for number in range(_ONE_BY_ONE):
            await _followed(stage, client, f"question {number}")


async def follows_picks_at_once(stage: Stage) -> None:
    """Of many requests at a time, half of them streamed, each worker serves as many as it was picked for, and
    no booking is left."""
    async with httpx.AsyncClient() as client:
        (last, *_) = [*await stage.picks(client, 1), {"at_unix_s": 0.0}]
        asked = (stage.ask(client, f"at once {n}", stream=n % 2 == 0) for n in range(_AT_ONCE))
        answers = await asyncio.gather(*asked)
        assert {answer.status_code for answer in answers} == {200}
        assert all(answer.text.endswith("data: [DONE]\n\n") for answer in answers[::2])
        picks = [pick for pick in await stage.picks(client) if pick["at_unix_s"] > last["at_unix_s"]]
        picked = Counter([pick["endpoint"] for pick in picks])
        assert picked == Counter([stage.served_by(answer) for answer in answers])
        async with asyncio.timeout(_WAIT_S):
            while not all(pick["ended"] for pick in await stage.picks(client)):
                await asyncio.sleep(_PAUSE_S)


async def ignores_what_a_client_says(stage: Stage) -> None:
    """A destination in a client's own header changes nothing."""
    async with httpx.AsyncClient() as client:
        for worker in stage.workers:
            header = {"x-gateway-destination-endpoint": f"{worker.network.address}:8000"}
            for number in range(_SETTLED):
                await _followed(stage, client, f"from outside {number}", header)


async def takes_long_prompts(stage: Stage) -> None:
    """Bodies far beyond the buffers of connections (32 KiB) pass whole, and their picks are followed."""
    async with httpx.AsyncClient() as client:
        for words in _LONG_WORDS:
            answer = await _followed(stage, client, "word " * words)
            assert answer.json()["usage"]["prompt_tokens"] > words


async def leaves_gone_workers(stage: Stage) -> None:
    """A worker that died: soon every request is answered, by another."""
    stage.cluster.remove(stage.workers.pop())
    assert (await _settled(stage))[-1] == 200


def policy_admits_the_proxies(stage: Stage) -> None:
    """The shipped NetworkPolicy, which nothing enforces here, names a label that the gateway's pods carry."""
    policy = stage.objects.get("/apis/networking.k8s.io/v1/namespaces/llm/networkpolicies/epp")
    (source,) = policy["spec"]["ingress"][0]["from"]
    (expression,) = source["podSelector"]["matchExpressions"]
    assert expression["operator"] == "Exists"
    assert stage.proxies
    assert all(expression["key"] in proxy.made["metadata"]["labels"] for proxy in stage.proxies)


async def statuses_without(stage: Stage, picker: Pod) -> list[int]:
    """Kill a picker; the statuses of one request after the other until they are alike."""
    stage.pickers.remove(picker)
    stage.cluster.remove(picker)
    return await _settled(stage)


async def ejects_what_is_lost(stage: Stage, picker: Pod) -> None:
    """A picker ends and stays in its Service; soon many requests in a row are answered."""
    stage.pickers.remove(picker)
    stage.cluster.lose(picker)
    seen: list[int] = []
    async with httpx.AsyncClient() as client, asyncio.timeout(_WAIT_S):
        while seen[-_IN_A_ROW:].count(200) < _IN_A_ROW:
            seen.append((await stage.ask(client, f"lost {len(seen)}")).status_code)


async def _followed(
    stage: Stage, client: httpx.AsyncClient, text: str, headers: dict[str, str] | None = None
) -> httpx.Response:
    answer = await stage.ask(client, text, headers)
    assert answer.status_code == 200, answer.text
    (newest, *_) = await stage.picks(client, 1)
    assert newest["endpoint"] == stage.served_by(answer)
    return answer


async def _settled(stage: Stage) -> list[int]:
    seen: list[int] = []
    async with httpx.AsyncClient() as client, asyncio.timeout(_WAIT_S):
        while len(seen) < _SETTLED or len(set(seen[-_SETTLED:])) > 1:
            seen.append((await stage.ask(client, f"meanwhile {len(seen)}")).status_code)
    return seen
