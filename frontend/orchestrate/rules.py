"""Whether a request is split: the part of the decision that needs no engine."""

from epp.core.endpoints import PoolSnapshot, Role
from frontend.config.model import DisaggConfig
from frontend.errors import bad_request, unavailable
from frontend.orchestrate.failures import Reason
from frontend.pipeline.call import Leg, Route


def below(config: DisaggConfig, route: Route) -> Reason | None:
    """The threshold that keeps a request whole; None: none does. What nobody counted is not below."""
    prompt = route.tokens.prompt_tokens if route.tokens is not None else None
    if prompt is not None and prompt < config.min_prompt_tokens:
        return Reason.PROMPT_BELOW
    if route.uncached_tokens is not None and route.uncached_tokens < config.min_uncached_tokens:
        return Reason.UNCACHED_BELOW
    return None


def check_pair(route: Route, prefill: Leg) -> None:
    """Raises ApiError for engines that do not speak the same contract: 400 if the request named the pair,
    503 if it was chosen for it."""
    one, other = prefill.endpoint, route.worker.endpoint
    if one.engine is other.engine:
        return
    sentence = (
        f"Prefill worker {one.name} runs {one.engine}, decode worker {other.name} runs {other.engine}: "
        "they cannot serve one request together."
    )
    raise bad_request(sentence) if route.picked is None else unavailable(sentence)


def check_whole(config: DisaggConfig, route: Route, snapshot: PoolSnapshot) -> None:
    """``enforce``, for a route without a prefill worker: raises ApiError (503) if it ends at a decode worker,
    prefill workers exist, and no threshold excuses it."""
    worker = route.worker.endpoint
    if worker.role is not Role.DECODE or below(config, route) is not None:
        return
    if any(peer.role is Role.PREFILL and peer.namespace == worker.namespace for peer in snapshot.endpoints):
        sentence = "No prefill worker can take this request, and serving it without one is not allowed."
        raise unavailable(sentence)
