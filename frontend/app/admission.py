"""Whether a request's model is there to serve it; routing's own refusals come later."""

from collections.abc import Awaitable, Callable

from frontend.errors import not_found
from frontend.pipeline.call import Call
from frontend.serving.catalogue import Known, ModelCatalogue
from frontend.serving.readiness import not_ready, readiness


class Admission:
    """Refuses models nobody serves, and pools that lack a kind of worker.

    With routes that come from outside (``direct``) everybody is let in: the gateway has decided, and the
    worker knows its models best.
    """

    def __init__(
        self,
        catalogue: ModelCatalogue,
        refresh: Callable[[], Awaitable[None]],
        *,
        direct: bool,
        split: bool,
    ) -> None:
        """``refresh`` asks the workers once more which models they serve; ``split``: decode workers need
        prefill workers."""
        self._catalogue = catalogue
        self._refresh = refresh
        self._direct = direct
        self._split = split

    async def admit(self, call: Call) -> None:
        """Raises ApiError: 404 for an unknown model, 503 while workers are missing. Workers known not to
        serve the model are excluded from the call."""
        if self._direct:
            return
        catalogue = self._catalogue
        if catalogue.known(call.model) is Known.NO:
            await self._refresh()
            if catalogue.known(call.model) is Known.NO:
                raise not_found("Model not found")
        namespaces = readiness(catalogue.serving(call.model), split=self._split)
        if not any(namespace.ready for namespace in namespaces.values()):
            raise not_ready(call.model, namespaces)
        strangers = catalogue.strangers(call.model)
        if strangers:
            call.excluded |= strangers
