"""Both routers through the same simulated day: every pick, and so every figure, is the same.

The policy bench as a test: long histories of bookings, events, evictions and loads that no single case of the
suite reaches.
"""

import pytest

from tests.bench.policy import Scenario, measure
from tests.bench.policy_traces import SHAPES, made_up

_TIGHT = Scenario(workers=4, blocks=300, unequal=True, events=True, interference=0.01)
_BLIND = Scenario(workers=4, blocks=300, unequal=False, events=False, interference=0.01)


@pytest.mark.parametrize("policy", ["kv", "ttft", "least-loaded", "scorers"])
@pytest.mark.parametrize("shape", SHAPES)
def test_both_cores_give_the_same_figures(shape: str, policy: str) -> None:
    requests = made_up(shape, seed=7, requests=150)
    for scenario in (_TIGHT, _BLIND):
        native = measure(requests, "native", policy, scenario)
        assert native == measure(requests, "python", policy, scenario)
        assert native["ttft_mean_s"] != 0
