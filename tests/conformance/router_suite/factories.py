"""The routers the suite runs over; another implementation is one more line."""

from collections.abc import Callable
from typing import TypeAlias

from epp.core.kvindex.native import NativeRouter
from epp.core.kvindex.reference import ReferenceRouter
from epp.core.router import Router, RouterOptions
from epp.wire import kvevents

MakeRouter: TypeAlias = Callable[..., Router]
"""Makes a router from the fields of RouterOptions."""

ROUTER_FACTORIES: dict[str, Callable[[RouterOptions], Router]] = {
    "reference": lambda options: ReferenceRouter(options, kvevents.decode),
    "native": NativeRouter,
}
