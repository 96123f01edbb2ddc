"""The segment of ``postprocess=frontend``: chats and completions become token ids below and text above."""

import asyncio
from typing import Final
from uuid import uuid4

from epp.core.endpoints import EngineKind, PoolSnapshot, Role
from epp.core.outcomes import Ending
from epp.core.requests import Api
from frontend.config.model import FrontendConfig
from frontend.errors import bad_request, unavailable
from frontend.http.api import Reply
from frontend.pipeline.call import Call, Segment
from frontend.pipeline.components import Components
from frontend.postprocess.answer import Answer, StreamOptions
from frontend.postprocess.engine_packages import open_processor
from frontend.postprocess.forms import ChatForm, CompletionForm, Form, FormOptions
from frontend.postprocess.processor import Asked, ChatProcessor, Prepared
from frontend.postprocess.reply import TokenReply
from frontend.postprocess.sampling import Sampling, read_sampling, token_body
from frontend.postprocess.tokens_wire import FORMS
from frontend.postprocess.toolplan import ToolPlan, read_plan

_SHORT_ID_CHARS: Final = 9
_ID_CHARS: Final = 24


class Postprocess:
    """Replaces a call's api, path and body by the engine's token form for the segments below, streamed
    always, and gives them back when the answer is over; other APIs pass through."""

    name = "postprocess"

    def __init__(
        self,
        next_: Segment,
        config: FrontendConfig,
        components: Components,
        processor: ChatProcessor | None = None,
    ) -> None:
        """Raises ValueError, with a sentence, for a configuration that cannot work. ``processor`` replaces
        the configured one."""
        self.next = next_
        self._pipeline = config.pipeline
        self._snapshot = components.snapshot
        self._adapter = components.adapter
        self._processor = processor or open_processor(config, components.tokenizer)

    async def handle(self, call: Call, reply: Reply) -> None:
        """See Segment."""
        if call.api not in (Api.CHAT, Api.COMPLETIONS):
            await self.next.handle(call, reply)
            return
        chat = call.api is Api.CHAT
        plan = read_plan(call.body) if chat else ToolPlan()
        sampling = read_sampling(call.body, call.nvext, plan, chat=chat)
        kind = engine_kind(self._snapshot())
        prepared = await self._processor.prepare(Asked(call.api, call.model, call.body, call.nvext, plan))
        body = token_body(kind, sampling, prepared.prompt, call.body, self._adapter(call.model))
        options = StreamOptions(call.stream, usage=call.stream and _wants_usage(call))
        answer = Answer(kind, prepared, sampling, self._form(call, prepared, sampling), options)
        form = FORMS[kind]
        call.facts.prompt_tokens = len(prepared.prompt)
        before = call.api, call.path, call.body, call.stream
        call.api, call.path, call.body, call.stream = form.api, form.path, body, True
        try:
            await self._run(call, reply, answer, options)
        finally:
            call.api, call.path, call.body, call.stream = before

    async def _run(self, call: Call, reply: Reply, answer: Answer, options: StreamOptions) -> None:
        """Below runs in a task of its own, because a stop string ends it before the engine does."""

        def stop() -> None:
            call.cut = Ending.COMPLETED if below.failure is None else Ending.ERROR
            task.cancel()

        below = TokenReply(reply, answer, call.facts, options, stop)
        task = asyncio.create_task(self.next.handle(call, below))
        try:
            await task
        except asyncio.CancelledError:
            if not below.over or _cancelled():
                raise
        if below.failure is not None:
            raise below.failure

    def _form(self, call: Call, prepared: Prepared, sampling: Sampling) -> Form:
        chat = call.api is Api.CHAT
        prefix = "chatcmpl" if chat else "cmpl"
        options = FormOptions(
            id=f"{prefix}-{call.request_id}",
            created=call.arrived_ms // 1000,
            model=call.model,
            prepared=prepared,
            logprobs=sampling.logprobs,
            token_ids=call.body.get("return_token_ids", bool) or False,
            reasoning_field=self._pipeline.reasoning_field_name,
            echo=_echo(call, prepared, sampling),
            call_id=_short_call_id if prepared.short_call_ids else _call_id,
        )
        return ChatForm(options) if chat else CompletionForm(options)


def engine_kind(snapshot: PoolSnapshot) -> EngineKind:
    """The one engine of the pool, whose token form requests get before anybody chose a worker. Raises
    ApiError (503) for a mixed pool, or an engine without such a form."""
    kinds = {endpoint.engine for endpoint in snapshot.endpoints if endpoint.role is not Role.ENCODE}
    if len(kinds) > 1:
        raise unavailable(
            f"postprocess=frontend needs workers of one engine, not {' and '.join(sorted(kinds))}."
        )
    kind = kinds.pop() if kinds else EngineKind.VLLM  # nobody is there: the router below says so
    if kind not in FORMS:
        raise unavailable(f"Workers of {kind} take no token ids; they need postprocess=engine.")
    return kind


def _wants_usage(call: Call) -> bool:
    options = call.body.get("stream_options", dict[str, object]) or {}
    return options.get("include_usage") is True


def _echo(call: Call, prepared: Prepared, sampling: Sampling) -> str:
    if not call.body.get("echo", bool):
        return ""
    if call.api is Api.CHAT:
        raise bad_request("`echo` of a chat is not supported with frontend postprocessing.")
    if sampling.logprobs is not None:
        raise bad_request("`echo` together with `logprobs` is not supported with frontend postprocessing.")
    return prepared.text if prepared.text is not None else prepared.decoder.decode(prepared.prompt)


def _cancelled() -> bool:
    """The client left while the task below was being stopped."""
    current = asyncio.current_task()
    return current is not None and current.cancelling() > 0


def _call_id() -> str:
    return f"call_{uuid4().hex[:_ID_CHARS]}"


def _short_call_id() -> str:
    return uuid4().hex[:_SHORT_ID_CHARS]
