"""SGLang's contract: both legs at once, meeting in a room at the prefill worker's bootstrap server.

Both bodies name the bootstrap server and one random room. The decode worker waits there until the KV comes;
the prefill worker sends it and then ends its own answer, which nobody needs. With data parallelism the
prefill worker serves a room on rank ``room % dp_size``, so the room is drawn for the rank that was chosen.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from secrets import randbits
from typing import Any, Final

from epp.core.endpoints import Endpoint
from epp.core.requests import Api
from frontend.body import Body
from frontend.orchestrate.contract import whole
from frontend.pipeline.call import Leg

DEFAULT_BOOTSTRAP_PORT: Final = 8998
"""``--disaggregation-bootstrap-port`` when it is not given."""
_ROOM_BITS: Final = 63
_APIS: Final = frozenset({Api.CHAT, Api.COMPLETIONS, Api.RESPONSES, Api.SGLANG_GENERATE})

draw_room: Callable[[], int] = partial(randbits, _ROOM_BITS)
"""0 .. 2^63 - 1."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The two bodies."""

    prefill: Body
    decode: Body


def speaks(api: Api) -> bool:
    """Whether requests of ``api`` can carry a room."""
    return api in _APIS


def bootstrap_of(endpoint: Endpoint) -> tuple[str, int]:
    """Host and port of a prefill worker's bootstrap server; an IPv6 host keeps its brackets."""
    if endpoint.bootstrap is None:
        return endpoint.host_port.rpartition(":")[0], DEFAULT_BOOTSTRAP_PORT
    host, _, port = endpoint.bootstrap.rpartition(":")
    return host, int(port)


def room_for(leg: Leg, drawn: int) -> int:
    """A room near ``drawn`` that ``leg.endpoint`` serves on the rank chosen: 0 .. 2^63 - 1."""
    size, rank = leg.endpoint.dp_size, leg.told_rank
    room = drawn if rank is None else drawn - drawn % size + rank
    return room if room < 1 << _ROOM_BITS else room - size


def bodies(body: Body, prefill: Leg, decode: Leg, drawn: int) -> Pair:
    """The prefill leg is not streamed, so that a failure shows in its status; a list of prompts or several
    samples are numbered by the engines from the one room on."""
    host, port = bootstrap_of(prefill.endpoint)
    room, size = room_for(prefill, drawn), prefill.endpoint.dp_size
    fields: dict[str, Any] = {"bootstrap_host": host, "bootstrap_port": port, "bootstrap_room": room}
    whence = {"disagg_prefill_dp_rank": room % size} if size > 1 else {}
    return Pair(
        prefill=whole(body).replace(**fields, **_rank(prefill)),
        decode=body.replace(**fields, **whence, **_rank(decode)),
    )


def _rank(leg: Leg) -> dict[str, int]:
    return {} if leg.told_rank is None else {"routed_dp_rank": leg.told_rank}
