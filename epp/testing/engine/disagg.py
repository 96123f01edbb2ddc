"""How engines hand a computed prompt over: the contracts of three kinds, strict where a mistake would matter.

Simplified: KV moves as a note over HTTP on the engine's own port (``/sim/kv/KEY``), at once, at no cost;
parked blocks stay in the prefix cache of whoever computed them. A note that is missing or belongs to
another prompt fails the decode with a 500, as vLLM does with ``kv_load_failure_policy: fail``, only sooner.
All kinds share one surface otherwise, vLLM's: usage, metrics and events are not dressed up.
"""

import base64
from dataclasses import dataclass, field
from typing import Protocol

import aiohttp
import msgspec

from epp.testing.engine.openai import ApiError, Asked, JsonDict, handed_over
from epp.testing.engine.sequence import GenerationRequest
from epp.testing.engine.shelf import Parked, Shelf

WAIT_S = 10.0
"""How long SGLang's legs wait for each other (its ``SGLANG_DISAGGREGATION_WAITING_TIMEOUT`` is 300 s)."""
LEASE_S = 30.0
"""How long parked KV is kept: vLLM's ``kv_lease_duration``."""
_TRTLLM_FIELDS = {
    *("request_type", "first_gen_tokens", "ctx_request_id", "encoded_opaque_state", "draft_tokens"),
    *("disagg_request_id", "ctx_dp_rank", "ctx_info_endpoint", "schedule_style", "ctx_usage"),
    *("return_prompt_token_ids_b64", "resolved_thinking"),
}


@dataclass(frozen=True, slots=True)
class Given:
    """What an answer tells of KV that was parked."""

    answer: JsonDict = field(default_factory=dict[str, object])
    choice: JsonDict = field(default_factory=dict[str, object])


class Handover(Protocol):
    """One engine's side of a contract. Methods raise ApiError for what the engine refuses."""

    def rank(self, asked: Asked) -> int | None:
        """The rank the request has to run on; None: any."""
        ...

    def only_prompt(self, asked: Asked) -> bool:
        """Whether the engine stops after the first token whatever the request's limits are."""
        ...

    async def receive(self, asked: Asked) -> int:
        """Prompt tokens whose KV comes from elsewhere; waits for it."""
        ...

    async def give(self, asked: Asked, request: GenerationRequest) -> Given:
        """After the prompt was computed: park its KV if somebody shall have it."""
        ...


class Puller:
    """Fetches notes from other engines, one session for all."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def pull(self, host_port: str, key: str, asked: Asked, wait_s: float = 0.0) -> int:
        """Tokens parked for ``asked``. Raises ApiError (500) if there are none, or they are another's."""
        if self._session is None:
            self._session = aiohttp.ClientSession()
        url = f"http://{host_port}/sim/kv/{key}"
        try:
            async with self._session.post(url, params={"wait_s": wait_s}) as response:
                raw = await response.read()
                found = msgspec.json.decode(raw, type=Parked) if response.status == 200 else None
        except aiohttp.ClientError as error:
            raise _not_loaded(f"{host_port} cannot be reached") from error
        if found is None:
            raise _not_loaded(f"{host_port} holds nothing under {key}")
        if found != Parked.of(asked.prompt):
            raise _not_loaded(f"what {host_port} holds under {key} is another prompt's")
        return found.tokens

    async def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()


class NixlHandover:
    """vLLM's ``kv_transfer_params`` with the NIXL connector."""

    def __init__(self, engine_id: str, port: int, block_tokens: int, shelf: Shelf, puller: Puller) -> None:
        self._engine_id, self._port, self._block_tokens = engine_id, port, block_tokens
        self._shelf, self._puller = shelf, puller

    def rank(self, asked: Asked) -> int | None:  # noqa: ARG002 -- the header decides
        """Any."""
        return None

    def only_prompt(self, asked: Asked) -> bool:  # noqa: ARG002 -- the router shortens the request
        """No."""
        return False

    async def receive(self, asked: Asked) -> int:
        """Pull what ``do_remote_prefill`` promises."""
        params = asked.body.kv_transfer_params
        if params is None or not params.do_remote_prefill:
            return 0
        if not params.remote_request_id or not params.remote_host:
            raise _not_loaded("kv_transfer_params do not say where the prompt was computed")
        host_port = f"{params.remote_host}:{params.remote_port}"
        return await self._puller.pull(host_port, params.remote_request_id, asked)

    async def give(self, asked: Asked, request: GenerationRequest) -> Given:
        """Park under the request's id."""
        params = asked.body.kv_transfer_params
        if params is None or not params.do_remote_decode:
            return Given({"kv_transfer_params": None})
        self._shelf.put(request.request_id, Parked.of(request.prompt))
        blocks = -(-len(request.prompt) // self._block_tokens)
        told = handed_over(self._engine_id, request.request_id, blocks, len(request.prompt), self._port)
        return Given({"kv_transfer_params": told})


class BootstrapHandover:
    """SGLang: both legs meet in a room; the bootstrap server is the engine's own port."""

    def __init__(self, role: str, dp_size: int, shelf: Shelf, puller: Puller) -> None:
        self._role, self._dp_size = role, dp_size
        self._shelf, self._puller = shelf, puller

    def rank(self, asked: Asked) -> int | None:
        """A prefill worker serves a room on rank ``room % dp_size``."""
        if self._role == "aggregated":
            return None
        body = asked.body
        if body.bootstrap_room is None or body.bootstrap_host is None or body.bootstrap_port is None:
            raise ApiError(400, "Disaggregated request received without bootstrap room id")
        if self._role != "prefill":
            return body.routed_dp_rank
        rank = body.bootstrap_room % self._dp_size
        if body.routed_dp_rank not in {None, rank}:
            raise ApiError(400, f"room {body.bootstrap_room} is served on rank {rank}")
        return rank

    def only_prompt(self, asked: Asked) -> bool:  # noqa: ARG002 -- its mode decides
        """In prefill mode."""
        return self._role == "prefill"

    async def receive(self, asked: Asked) -> int:
        """Wait in the room."""
        if self._role != "decode":
            return 0
        body = asked.body
        host_port = f"{body.bootstrap_host}:{body.bootstrap_port}"
        return await self._puller.pull(host_port, _room(body.bootstrap_room), asked, WAIT_S)

    async def give(self, asked: Asked, request: GenerationRequest) -> Given:
        """The answer ends when the KV is gone."""
        if self._role != "prefill":
            return Given()
        key = _room(asked.body.bootstrap_room)
        self._shelf.put(key, Parked.of(request.prompt))
        if not await self._shelf.until_taken(key):
            raise ApiError(500, "nobody came for the KV", "InternalServerError")
        return Given()


class ContextHandover:
    """TensorRT-LLM's ``disaggregated_params``; the opaque state says where the context is."""

    def __init__(self, port: int, shelf: Shelf, puller: Puller) -> None:
        self._port, self._shelf, self._puller = port, shelf, puller

    def rank(self, asked: Asked) -> int | None:
        """Any. Refuses parameters it does not know, as the engine does."""
        params = asked.body.disaggregated_params or {}
        if unknown := params.keys() - _TRTLLM_FIELDS:
            raise ApiError(400, f"Extra inputs are not permitted: {sorted(unknown)}")
        if params and params.get("request_type") not in {"context_only", "generation_only"}:
            raise ApiError(400, f"Unknown request type: {params.get('request_type')}")
        return None

    def only_prompt(self, asked: Asked) -> bool:
        """A context is the prompt and one token."""
        return (asked.body.disaggregated_params or {}).get("request_type") == "context_only"

    async def receive(self, asked: Asked) -> int:
        """Pull what the opaque state points to; the first token comes with it."""
        params = asked.body.disaggregated_params or {}
        if params.get("request_type") != "generation_only":
            return 0
        try:
            state = base64.b64decode(params["encoded_opaque_state"], validate=True).decode()
            key, first = _context(params["ctx_request_id"]), params["first_gen_tokens"]
        except (KeyError, TypeError, ValueError) as error:
            raise ApiError(400, f"generation_only without its context: {error}") from error
        if not first:
            raise ApiError(400, "generation_only without first_gen_tokens")
        return await self._puller.pull(state, key, asked)

    async def give(self, asked: Asked, request: GenerationRequest) -> Given:
        """Park under the context's id."""
        if not self.only_prompt(asked):
            return Given()
        params = asked.body.disaggregated_params or {}
        number = int(params.get("disagg_request_id") or self._shelf.parked + 1)
        self._shelf.put(_context(number), Parked.of(request.prompt))
        state = base64.b64encode(f"127.0.0.1:{self._port}".encode()).decode()
        told: JsonDict = {
            "request_type": "context_only",
            "first_gen_tokens": request.answer.tolist(),
            "ctx_request_id": number,
            "encoded_opaque_state": state,
            "draft_tokens": None,
            "disagg_request_id": params.get("disagg_request_id"),
        }
        return Given({"prompt_token_ids": request.prompt.tolist()}, {"disaggregated_params": told})


def _room(number: int | None) -> str:
    return f"room-{number}"


def _context(number: object) -> str:
    return f"context-{number}"


def _not_loaded(why: str) -> ApiError:
    return ApiError(500, f"KV was not loaded: {why}", "InternalServerError")
