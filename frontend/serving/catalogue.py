"""Which models are served: by configuration, by the endpoints' labels, by the workers' own word.

Keeps no clock and opens no socket; :mod:`frontend.serving.polling` feeds it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from epp.config.model import ModelConfig
from epp.core.endpoints import Endpoint, PoolSnapshot
from frontend.serving.modelpage import ListedModel

_LABEL = "model"
"""Endpoint label that says which model an endpoint serves."""
_MAX_REMEMBERED = 1024
_NOBODY: frozenset[int] = frozenset()


class Known(Enum):
    """Whether a name is a model's."""

    YES = auto()
    NO = auto()
    UNSURE = auto()
    """Some worker has not said what it serves: let it answer for itself."""


@dataclass(frozen=True, slots=True)
class WorkerModels:
    """One worker's word."""

    host_port: str
    """Whose: a worker id may come back at another address."""
    models: tuple[ListedModel, ...] | None
    """None: it could not be asked."""
    problem: str = ""
    """Why not, for people."""


@dataclass(frozen=True, slots=True)
class _Standing:
    """How the workers stand to one name."""

    known: Known
    strangers: frozenset[int]
    serving: tuple[Endpoint, ...]

    @classmethod
    def of(cls, words: Sequence[tuple[Endpoint, Known]]) -> "_Standing":
        """From every worker's."""
        said = {word for _, word in words}
        serving = tuple(endpoint for endpoint, word in words if word is not Known.NO)
        if not serving:
            return cls(Known.NO, _NOBODY, tuple(endpoint for endpoint, _ in words))
        strangers = frozenset(endpoint.worker_id for endpoint, word in words if word is Known.NO)
        return cls(Known.YES if Known.YES in said else Known.UNSURE, strangers, serving)


class ModelCatalogue:
    """See the module's preface."""

    def __init__(
        self,
        configured: Sequence[ModelConfig],
        snapshot: Callable[[], PoolSnapshot],
        is_adapter: Callable[[str], bool],
        *,
        started: int,
        served: Sequence[str] = (),
    ) -> None:
        """``served``: names that are known without a tokenizer here; ``is_adapter``: whether some worker's
        metrics page lists a LoRA adapter of that name; ``started``: unix seconds, the ``created`` of models
        nobody dates."""
        self._snapshot = snapshot
        self._is_adapter = is_adapter
        self._started = started
        self._names = {name: name for name in served}
        self._names |= {name: model.name for model in configured for name in (model.name, *model.aliases)}
        self._pages: dict[int, WorkerModels] = {}
        self._standings: dict[str, _Standing] = {}
        self._standings_of: PoolSnapshot | None = None

    # --- what is learnt ----------------------------------------------------------------------------

    def learn(self, worker_id: int, said: WorkerModels) -> None:
        """Take a worker's word. One that could not be asked again is still believed what it said before."""
        before = self._pages.get(worker_id)
        if said.models is None and before is not None and before.host_port == said.host_port:
            said = WorkerModels(said.host_port, before.models, said.problem)
        self._pages[worker_id] = said
        self._standings.clear()

    def forget_gone(self) -> None:
        """Drop what workers said that are no longer there."""
        here = self._snapshot().by_worker
        for worker_id in [w for w in self._pages if w not in here]:
            del self._pages[worker_id]
        self._standings.clear()

    def page(self, endpoint: Endpoint) -> WorkerModels | None:
        """What a worker said; None: nothing yet."""
        page = self._pages.get(endpoint.worker_id)
        return page if page is not None and page.host_port == endpoint.host_port else None

    # --- what is asked -----------------------------------------------------------------------------

    def known(self, name: str) -> Known:
        """Whether requests for ``name`` have somewhere to go."""
        if name in self._names or self._is_adapter(name):
            return Known.YES
        return self._standing(name).known

    def serves(self, endpoint: Endpoint, name: str) -> Known:
        """Whether one worker serves ``name``: its own list decides, then its label."""
        base = self._names.get(name, name)
        label = endpoint.labels.get(_LABEL)
        if label is not None and label in (name, base):
            return Known.YES
        page = self.page(endpoint)
        if page is None or page.models is None:
            return Known.UNSURE if label is None or name not in self._names else Known.NO
        wanted = {name, base, name.partition(":")[0]}  # SGLang: base:adapter
        return Known.YES if any(model.id in wanted for model in page.models) else Known.NO

    def strangers(self, name: str) -> frozenset[int]:
        """Ids of workers that do not serve ``name`` while others do or may; routers pass them over."""
        return self._standing(name).strangers

    def serving(self, name: str) -> tuple[Endpoint, ...]:
        """Workers that serve ``name``, or may: the same object until something changes."""
        return self._standing(name).serving

    def context_window(self, name: str) -> int | None:
        """Smallest ``max_model_len`` of those who serve it, an adapter's base model's; None: unknown."""
        base = self._names.get(name, name)
        listed = [m for page in self._pages.values() for m in page.models or ()]
        parents = {m.parent for m in listed if m.id in (name, base) and m.parent is not None}
        windows = [m.context_window for m in listed if m.id in {name, base} | parents]
        return min((w for w in windows if w is not None), default=None)

    def cards(self) -> list[dict[str, object]]:
        """Every model as an entry of ``/v1/models``, by name."""
        listed: dict[str, ListedModel] = {}
        for page in self._pages.values():
            for model in page.models or ():
                listed.setdefault(model.id, model)
        labels = {e.labels[_LABEL] for e in self._snapshot().endpoints if _LABEL in e.labels}
        return [self._card(name, listed) for name in sorted({*listed, *self._names, *labels})]

    def problems(self) -> Mapping[str, str]:
        """Workers whose list could not be read, and why."""
        return {page.host_port: page.problem for page in self._pages.values() if page.problem}

    def _standing(self, name: str) -> "_Standing":
        """Worked out once per pool and what its workers said: there may be thousands of them."""
        snapshot = self._snapshot()
        if snapshot is not self._standings_of or len(self._standings) > _MAX_REMEMBERED:
            self._standings.clear()
            self._standings_of = snapshot
        found = self._standings.get(name)
        if found is None:
            words = [(endpoint, self.serves(endpoint, name)) for endpoint in snapshot.endpoints]
            found = self._standings[name] = _Standing.of(words)
        return found

    def _card(self, name: str, listed: Mapping[str, ListedModel]) -> dict[str, object]:
        model = listed.get(name) or listed.get(self._names.get(name, name))
        card: dict[str, object] = {
            "id": name,
            "object": "model",
            "created": (model.created if model else 0) or self._started,
            "owned_by": (model.owned_by if model else "") or "frontend",
            "context_window": self.context_window(name),
        }
        if model is not None and model.parent is not None and model.id == name:
            card["parent"] = model.parent
        return card
