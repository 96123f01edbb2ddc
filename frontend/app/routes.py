"""Which path is which endpoint. A table, so that the document at ``/openapi.json`` reads the same one."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias
from urllib.parse import unquote

from epp.core.requests import Api
from frontend.config.model import DEFAULT_PATHS
from frontend.errors import ApiError
from frontend.serving import checks
from frontend.serving.checks import Rules
from frontend.translate.count import INPUT_TOKENS


@dataclass(frozen=True, slots=True)
class Inference:
    """An endpoint whose requests go through the pipeline."""

    name: str
    """Metric label ``endpoint``."""
    summary: str
    api: Api
    worker_path: str
    rules: Rules
    any_type: bool = False
    """Bodies that are no JSON (forms, audio) pass as they are."""
    streams: bool = False
    """Answers are streams whether the body says so or not."""
    of_a_model: bool = True
    """The model must be known and served before a worker is asked."""


@dataclass(frozen=True, slots=True)
class Page:
    """An endpoint the frontend answers itself."""

    name: str
    """Of the handler, and metric label ``endpoint``."""
    summary: str


Endpoint: TypeAlias = Inference | Page


@dataclass(frozen=True, slots=True)
class Found:
    """A matched route."""

    endpoint: Endpoint
    model: str = ""
    """Of ``/v1/models/{model}``, decoded."""


def _passed(
    name: str, path: str, summary: str, *, any_type: bool = False, streams: bool = False
) -> Inference:
    return Inference(
        name, summary, Api.OTHER, path, checks.ANY, any_type=any_type, streams=streams, of_a_model=False
    )


_IMAGES: Final = _passed("images", "/v1/images/generations", "Image generation")
_VIDEOS: Final = _passed("videos", "/v1/videos/generations", "Video generation")
_VIDEO_STREAM: Final = _passed(
    "videos_stream", "/v1/videos/generations/stream", "Video generation, streamed", streams=True
)
_OVERRIDABLE: Final[Mapping[str, Inference]] = {
    "chat": Inference("chat_completions", "Chat completion", Api.CHAT, DEFAULT_PATHS["chat"], checks.CHAT),
    "completions": Inference(
        "completions", "Text completion", Api.COMPLETIONS, DEFAULT_PATHS["completions"], checks.COMPLETIONS
    ),
    "embeddings": Inference(
        "embeddings", "Embeddings", Api.EMBEDDINGS, DEFAULT_PATHS["embeddings"], checks.EMBEDDINGS
    ),
    "responses": Inference(
        "responses", "Responses API", Api.RESPONSES, DEFAULT_PATHS["responses"], checks.RESPONSES
    ),
}
_PASSED: Final[Mapping[str, Inference]] = {
    "/v1/images/generations": _IMAGES,
    "/v1/images/edits": _passed("images_edits", "/v1/images/edits", "Image editing", any_type=True),
    "/v1/videos/generations": _VIDEOS,
    "/v1/videos": _VIDEOS,
    "/v1/videos/generations/stream": _VIDEO_STREAM,
    "/v1/videos/stream": _VIDEO_STREAM,
    "/v1/audio/speech": _passed("audio_speech", "/v1/audio/speech", "Speech from text"),
    "/v1/audio/transcriptions": _passed(
        "audio_transcriptions", "/v1/audio/transcriptions", "Text from speech", any_type=True
    ),
    "/v1/audio/translations": _passed(
        "audio_translations", "/v1/audio/translations", "English text from speech", any_type=True
    ),
    "/v1/rerank": _passed("rerank", "/v1/rerank", "Documents by relevance"),
    "/rerank": _passed("rerank", "/rerank", "Documents by relevance"),
    "/v2/rerank": _passed("rerank", "/v2/rerank", "Documents by relevance"),
    "/v1/score": _passed("score", "/v1/score", "Similarity of texts"),
    "/score": _passed("score", "/score", "Similarity of texts"),
    "/v1/classify": _passed("classify", "/classify", "Classification"),
    "/classify": _passed("classify", "/classify", "Classification"),
    "/v1/pooling": _passed("pooling", "/pooling", "Pooled hidden states"),
    "/pooling": _passed("pooling", "/pooling", "Pooled hidden states"),
}
"""Forwarded as they are to a worker chosen by load; vLLM serves ``classify`` and ``pooling`` bare."""
_MESSAGES: Final = Inference("messages", "Anthropic Messages", Api.MESSAGES, "/v1/messages", checks.MESSAGES)
_COUNT: Final = Inference(
    "count_tokens",
    "Anthropic token counting",
    Api.COUNT_TOKENS,
    "/v1/messages/count_tokens",
    checks.MESSAGES,
)
_INPUT_TOKENS: Final = Inference(
    "input_tokens",
    "Responses API token counting",
    Api.RESPONSES,
    DEFAULT_PATHS["responses"] + INPUT_TOKENS,
    checks.RESPONSES,
)
_MODELS_PAGE: Final = Page("models", "Models served")
_MODEL_PAGE: Final = Page("model", "One model")
_READY_PAGE: Final = Page("model_ready", "Whether every kind of worker a model needs is there")


class Routes:
    """Finds endpoints."""

    def __init__(
        self,
        paths: Mapping[str, str] = DEFAULT_PATHS,
        *,
        anthropic: bool = False,
        admin: bool = True,
        handover: bool = True,
    ) -> None:
        """``paths``: see ``HttpConfig.paths``; what it leaves out is where it always is. ``handover``: who
        asks may say where engines take computed state from (``serving.fields.HANDOVER``)."""
        paths = {**DEFAULT_PATHS, **paths}
        inference = {paths[key]: endpoint for key, endpoint in _OVERRIDABLE.items()}
        inference[paths["responses"] + INPUT_TOKENS] = _INPUT_TOKENS
        inference |= _PASSED
        if anthropic:
            inference[paths["messages"]] = _MESSAGES
            inference[paths["messages"] + "/count_tokens"] = _COUNT
        if not handover:
            inference = {path: _without_handover(endpoint) for path, endpoint in inference.items()}
        self.questionable = {e.worker_path: e for e in (inference[paths[key]] for key in _OVERRIDABLE)}
        """Endpoints ``/v1/route`` answers questions about, by their usual path."""
        posts: dict[str, Endpoint] = {**inference}
        posts["/v1/route"] = Page("route", "Who would serve a request; runs nothing")
        posts["/tokenize"] = Page("tokenize", "Token ids of a prompt or a conversation")
        posts["/detokenize"] = Page("detokenize", "Text of token ids")
        gets: dict[str, Endpoint] = {
            paths["models"]: _MODELS_PAGE,
            paths["health"]: Page("health", "Health and the workers known"),
            paths["live"]: Page("live", "Liveness"),
            paths["metrics"]: Page("metrics", "Prometheus metrics"),
            "/openapi.json": Page("openapi", "This description"),
            "/docs": Page("docs", "This description, to read"),
        }
        if admin:
            gets["/busy_threshold"] = Page("busy_thresholds", "Busy thresholds of every model")
            posts["/busy_threshold"] = Page("busy_threshold", "Read or set a model's busy thresholds")
        self._models = paths["models"].rstrip("/") + "/"
        self._table: dict[str, dict[str, Endpoint]] = {}
        for method, endpoints in (("GET", gets), ("POST", posts)):
            for path, endpoint in endpoints.items():
                self._table.setdefault(path, {})[method] = endpoint

    def find(self, method: str, path: str) -> Found:
        """The endpoint of a request. Raises ApiError: 404 for an unknown path, 405 for a wrong method."""
        methods = self._table.get(path)
        model = ""
        if methods is None:
            methods, model = self._of_model(path)
        if methods is None:
            raise ApiError(404, f"Route not found: {method} {path}")
        endpoint = methods.get("GET" if method == "HEAD" else method)
        if endpoint is None:
            allowed = ", ".join(methods) + (", HEAD" if "GET" in methods else "")
            raise ApiError(405, f"Method not allowed: {method} {path}", headers=(("allow", allowed),))
        return Found(endpoint, model)

    def listed(self) -> Mapping[str, Mapping[str, Endpoint]]:
        """Every path with its methods, for the description."""
        pattern = f"{self._models}{{model}}"
        return {**self._table, pattern: {"GET": _MODEL_PAGE}, f"{pattern}/ready": {"GET": _READY_PAGE}}

    def _of_model(self, path: str) -> tuple[dict[str, Endpoint] | None, str]:
        """Model ids may hold slashes, plain or encoded."""
        if not path.startswith(self._models) or path == self._models:
            return None, ""
        model = path[len(self._models) :]
        if model.endswith("/ready") and model != "/ready":
            return {"GET": _READY_PAGE}, unquote(model.removesuffix("/ready"))
        return {"GET": _MODEL_PAGE}, unquote(model)


def _without_handover(endpoint: Inference) -> Inference:
    return replace(endpoint, rules=checks.without_handover(endpoint.rules))
