"""Every test of the suite runs once per router, and leaves it valid."""

from collections.abc import Iterator

import pytest

from epp.core.router import Router, RouterOptions
from tests.conformance.router_suite.factories import ROUTER_FACTORIES, MakeRouter


@pytest.fixture(params=ROUTER_FACTORIES)
def make_router(request: pytest.FixtureRequest) -> Iterator[MakeRouter]:
    made: list[Router] = []

    def make(**options: float) -> Router:
        made.append(ROUTER_FACTORIES[request.param](RouterOptions(**options)))
        return made[-1]

    yield make
    assert [router.validate() for router in made] == [None] * len(made)


@pytest.fixture
def router(make_router: MakeRouter) -> Router:
    return make_router()
