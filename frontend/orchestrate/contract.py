"""What the contracts of engines that prefill first and decode then have in common."""

from dataclasses import dataclass
from typing import Protocol, TypeAlias

import msgspec

from epp.core.requests import Api
from frontend.body import Body
from frontend.errors import ApiError
from frontend.orchestrate.failures import PrefillError, Reason, no_handover


@dataclass(frozen=True, slots=True)
class Decode:
    """Go on with this body at the decode worker."""

    body: Body


@dataclass(frozen=True, slots=True)
class Terminal:
    """The prefill has already said everything there was to say."""

    answer: Body
    """As the engine would have answered the client's own request, not streamed."""


Next: TypeAlias = Decode | Terminal


class Contract(Protocol):
    """One engine's hand-over, as pure functions of bodies."""

    def refuses(self, api: Api, body: Body) -> Reason | None:
        """Why this request cannot be split; None: it can. Raises ApiError for fields of a wrong type."""
        ...

    def prefill(self, api: Api, body: Body) -> Body:
        """The prefill worker's body. Raises ApiError for fields of a wrong type."""
        ...

    def hand_over(self, api: Api, body: Body, answer: bytes) -> Next:
        """What follows from the prefill worker's ``answer``. Raises PrefillError if it is of no use."""
        ...


class Choice(msgspec.Struct):
    """The part of a choice that decides."""

    finish_reason: str | None = None
    disaggregated_params: msgspec.Raw = msgspec.Raw(b"null")


class Answer(msgspec.Struct):
    """The part of a prefill's answer that decides; hand-over objects stay bytes."""

    choices: list[Choice] = []
    kv_transfer_params: msgspec.Raw = msgspec.Raw(b"null")
    prompt_token_ids: msgspec.Raw = msgspec.Raw(b"null")


_ANSWER = msgspec.json.Decoder(Answer)


def read_answer(raw: bytes) -> Answer:
    """Raises PrefillError for what is no answer."""
    try:
        return _ANSWER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PrefillError(Reason.PROTOCOL, "The prefill worker's answer cannot be understood.") from error


def body_of(raw: bytes) -> Body:
    """An answer as a body, to be changed. Raises PrefillError."""
    try:
        return Body(raw)
    except ApiError as error:
        raise no_handover("The prefill worker's answer is no JSON object.") from error


def is_null(raw: msgspec.Raw) -> bool:
    """Whether a raw field is absent or null."""
    return bytes(raw) == b"null"


def one_sequence(api: Api, body: Body) -> Reason | None:
    """SAMPLES for a request that means several sequences: samples, beams or prompts."""
    if (body.get("n", int) or 1) > 1 or (body.get("best_of", int) or 1) > 1:
        return Reason.SAMPLES
    if body.get("use_beam_search", bool):
        return Reason.SAMPLES
    if api is Api.COMPLETIONS and _several_prompts(body.raw("prompt")):
        return Reason.SAMPLES
    return None


def _several_prompts(raw: bytes | None) -> bool:
    """A list of more than one text or token list; a list of numbers is one prompt."""
    if raw is None or not raw.lstrip().startswith(b"["):
        return False
    inner = raw.lstrip()[1:].lstrip()
    if not inner.startswith((b'"', b"[")):
        return False
    return len(msgspec.json.decode(raw, type=list[msgspec.Raw])) > 1


def whole(body: Body) -> Body:
    """The same request, not streamed (engines refuse ``stream_options`` without ``stream``)."""
    if "stream_options" in body:
        body = body.replace(stream_options=msgspec.UNSET)
    return body.replace(stream=False)
