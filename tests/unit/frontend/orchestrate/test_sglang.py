"""Rooms: drawn for the rank that was chosen, the same in both bodies."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from epp.core.endpoints import Endpoint, EngineKind, Role
from frontend.body import Body
from frontend.orchestrate import sglang
from frontend.pipeline.call import ANY_RANK, Leg

TOP = 2**63 - 1


def leg(rank: int = 0, dp_size: int = 1, **more: Any) -> Leg:
    more = {"address": "10.0.0.1", "engine": EngineKind.SGLANG, "role": Role.PREFILL, **more}
    return Leg(Endpoint("p", port=30000, worker_id=1, dp_size=dp_size, **more), rank)


@given(st.integers(0, TOP), st.integers(1, 4096), st.data())
def test_a_room_leads_to_its_rank(drawn: int, dp_size: int, data: st.DataObject) -> None:
    rank = data.draw(st.integers(0, dp_size - 1))
    room = sglang.room_for(leg(rank, dp_size), drawn)
    assert 0 <= room <= TOP
    assert dp_size == 1 or room % dp_size == rank
    assert abs(room - drawn) < dp_size


def test_drawn_rooms_differ_and_fit() -> None:
    rooms = {sglang.draw_room() for _ in range(100)}
    assert len(rooms) == 100
    assert all(0 <= room <= TOP for room in rooms)


def test_bootstrap_servers() -> None:
    assert sglang.bootstrap_of(leg().endpoint) == ("10.0.0.1", 8998)
    assert sglang.bootstrap_of(leg(bootstrap="boot:9000").endpoint) == ("boot", 9000)
    assert sglang.bootstrap_of(leg(address="fd00::1").endpoint) == ("[fd00::1]", 8998)
    assert sglang.bootstrap_of(leg(bootstrap="[fd00::2]:9000").endpoint) == ("[fd00::2]", 9000)


def bodies(prefill: Leg, decode: Leg) -> tuple[dict[str, Any], dict[str, Any]]:
    asked = {"messages": [], "stream": True, "stream_options": {"include_usage": True}, "max_tokens": 9}
    pair = sglang.bodies(Body.of(asked), prefill, decode, 41)
    return json.loads(pair.prefill.encode()), json.loads(pair.decode.encode())


def test_both_legs_name_the_room_and_only_one_streams() -> None:
    room = {"bootstrap_host": "10.0.0.1", "bootstrap_port": 8998, "bootstrap_room": 41}
    prefill, decode = bodies(leg(), leg())
    assert prefill == {"messages": [], "stream": False, "max_tokens": 9, **room}
    assert decode == {
        "messages": [],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 9,
        **room,
    }


def test_ranks_are_told_where_there_are_several() -> None:
    prefill, decode = bodies(leg(3, 4), leg(1, 2))
    assert (prefill["bootstrap_room"], prefill["routed_dp_rank"]) == (43, 3)
    assert (decode["disagg_prefill_dp_rank"], decode["routed_dp_rank"]) == (3, 1)


def test_a_rank_nobody_named_follows_from_the_room() -> None:
    prefill, decode = bodies(leg(ANY_RANK, 4), leg(ANY_RANK, 2))
    assert prefill["bootstrap_room"] == 41
    assert "routed_dp_rank" not in prefill | decode
    assert decode["disagg_prefill_dp_rank"] == 1
