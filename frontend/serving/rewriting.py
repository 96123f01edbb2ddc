"""Requests for a model that stands for others: which one is to answer, before anybody looks for it."""

import random

from epp.core.poolrules import PoolRules
from epp.picking.asking import target_model
from epp.wire.headers import read_routing_headers
from frontend.pipeline.call import Call


class Rewriting:
    """Draws a request's model by the pool's rules, as the picker does for gateways."""

    def __init__(self, rules: PoolRules, *, trusted: bool) -> None:
        """``trusted``: a client's header may name the model that is to answer."""
        self._rules = rules
        self._trusted = trusted
        self._seeds = random.Random()

    def apply(self, call: Call) -> None:
        """Give ``call`` the model that answers it, and remember the client's name of it."""
        if not call.model or call.client_model is not None:
            return
        forced = read_routing_headers(call.headers).model_rewrite if self._trusted else None
        target = target_model(call.model, forced, self._rules, self._seeds.getrandbits(64))
        if target != call.model:
            call.client_model, call.model = call.model, target
            call.body = call.body.replace(model=target)
