"""Which model serves a request, and whether it is there; routing's own refusals come later."""

from collections.abc import Awaitable, Callable
from typing import Final

from epp.core.endpoints import Endpoint
from frontend.errors import not_found
from frontend.pipeline.call import Call
from frontend.serving.catalogue import Known, ModelCatalogue
from frontend.serving.readiness import not_ready, readiness
from frontend.serving.rewriting import Rewriting

_MAX_REMEMBERED: Final = 1024
"""Clients name models as they like."""
_MAX_NAME_CHARS: Final = 4096
"""Room for a path; names are remembered."""


class Admission:
    """Gives requests the model that the pool's rules name in place of theirs; refuses models nobody serves,
    and pools that lack a kind of worker.

    With routes that come from outside (``direct``) everybody is let in: the gateway has decided, and the
    worker knows its models best.
    """

    def __init__(
        self,
        catalogue: ModelCatalogue,
        refresh: Callable[[], Awaitable[None]],
        rewriting: Rewriting,
        *,
        direct: bool,
        split: bool,
    ) -> None:
        """``refresh`` asks the workers once more which models they serve; ``split``: decode workers need
        prefill workers."""
        self._catalogue = catalogue
        self._refresh = refresh
        self._rewriting = rewriting
        self._direct = direct
        self._split = split
        self._ready: dict[str, tuple[Endpoint, ...]] = {}
        """The workers a model was ready with."""

    async def admit(self, call: Call) -> None:
        """Raises ApiError: 404 for an unknown model, 503 while workers are missing. Workers known not to
        serve the model are excluded from the call."""
        if self._direct:
            return
        self._rewriting.apply(call)
        catalogue = self._catalogue
        if len(call.model) > _MAX_NAME_CHARS:
            raise not_found("Model not found")
        if catalogue.known(call.model) is Known.NO:
            await self._refresh()
            if catalogue.known(call.model) is Known.NO:
                raise not_found("Model not found")
        self._check_ready(call.model, catalogue.serving(call.model))
        strangers = catalogue.strangers(call.model)
        if strangers:
            call.excluded |= strangers

    def _check_ready(self, model: str, workers: tuple[Endpoint, ...]) -> None:
        """Counts workers only when they are others than at the model's last request."""
        if self._ready.get(model) is workers:
            return
        namespaces = readiness(workers, split=self._split)
        if not any(namespace.ready for namespace in namespaces.values()):
            raise not_ready(model, namespaces)
        if len(self._ready) >= _MAX_REMEMBERED:
            self._ready.clear()
        self._ready[model] = workers
