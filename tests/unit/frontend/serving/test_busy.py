import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.router import BusyLimits
from frontend.errors import ApiError
from frontend.serving.busy import BusyThresholds

CONFIGURED = BusyLimits(active_prefill_tokens=5)


class Stage:
    def __init__(self) -> None:
        self.limits: dict[str, BusyLimits] = {}
        self.pages = BusyThresholds(
            self.limits, CONFIGURED, models=lambda: ["m"], served=lambda model: model in ("m", "lora")
        )

    def change(self, **body: Any) -> dict[str, Any]:
        return self.pages.change(json.dumps(body).encode())


def test_the_configuration_holds_until_somebody_says_otherwise() -> None:
    stage = Stage()
    assert stage.change(model="m")["active_prefill_tokens_threshold"] == 5
    assert stage.limits == {}
    stage.change(model="m", active_decode_blocks_threshold=0.5)
    assert stage.limits == {"m": BusyLimits(0.5, 5, None)}
    stage.change(model="m", active_prefill_tokens_threshold=None)
    assert stage.limits == {"m": BusyLimits(0.5, None, None)}


def test_models_with_limits_of_their_own_are_listed() -> None:
    stage = Stage()
    stage.change(model="lora", active_prefill_tokens_threshold_frac=2)
    listed = {page["model"]: page for page in stage.pages.listing()["thresholds"]}
    assert listed.keys() == {"lora", "m"}
    assert listed["lora"]["active_prefill_tokens_threshold_frac"] == 2


@pytest.mark.parametrize(
    "body",
    [
        {"active_decode_blocks_threshold": -0.1},
        {"active_prefill_tokens_threshold": -1},
        {"active_prefill_tokens_threshold": 2**63},
        {"active_prefill_tokens_threshold_frac": -1},
    ],
)
def test_out_of_range(body: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as raised:
        Stage().change(model="m", **body)
    assert raised.value.status == 400


@given(
    st.binary(max_size=100) | st.dictionaries(st.text(), st.integers()).map(lambda v: json.dumps(v).encode())
)
def test_total(raw: bytes) -> None:
    with contextlib.suppress(ApiError):
        Stage().pages.change(raw)
