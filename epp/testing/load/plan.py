"""A mixed load as a value: every request of a run, decided by one seed before the run begins.

Three kinds share the arrivals: chats of several turns over a few system prompts (a turn carries all turns
before it), questions about long documents, and prompts nobody asked before.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from random import Random

from epp.testing.words import COMMON_WORDS


class Kind(StrEnum):
    """Why a request resembles others, or not."""

    CHAT = "chat"
    DOCUMENT = "document"
    ONE_OFF = "one-off"


@dataclass(frozen=True, slots=True)
class LoadSpec:
    """The shape of a load. Sizes are in words, of which most are one token. Raises ValueError."""

    seed: int = 1
    seconds: float = 20.0
    """Arrivals are spread over this long."""
    rate_per_s: float = 10.0
    """Poisson arrivals per second; ``seconds * rate_per_s`` requests in all."""
    fixed_concurrency: bool = False
    """True: arrival times are ignored and ``max_in_flight`` requests are kept running instead."""
    max_in_flight: int = 256
    """Requests at the same time; more wait their turn."""
    chat_share: float = 0.5
    document_share: float = 0.45
    """The rest are one-offs."""
    chats: int = 16
    """Conversations going on at once; a finished one is replaced."""
    chat_turns: int = 8
    systems: int = 4
    """Distinct system prompts that chats share."""
    system_words: int = 800
    question_words: int = 60
    documents: int = 12
    document_words: int = 3000
    one_off_words: int = 1500
    max_tokens: int = 32
    """Bound of each answer, in tokens."""

    def __post_init__(self) -> None:
        if not 0 <= self.chat_share <= 1 or not 0 <= self.document_share <= 1 - self.chat_share:
            raise ValueError("chat_share and document_share must be fractions that add up to at most 1")
        if min(self.chats, self.chat_turns, self.systems, self.documents, self.max_in_flight) < 1:
            raise ValueError("chats, chat_turns, systems, documents and max_in_flight must be at least 1")
        if self.requests < 1:
            raise ValueError("seconds * rate_per_s must be at least 1")

    @property
    def requests(self) -> int:
        """Requests in the plan."""
        return int(self.seconds * self.rate_per_s)


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """One request; its conversation is ``system``, the turns before it, and ``text``."""

    index: int
    at_s: float
    """Seconds after the start; a turn also waits for the answer before it."""
    kind: Kind
    system: str
    text: str
    max_tokens: int
    after: int | None = None
    """The turn before this one."""


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """All requests, ordered by time."""

    spec: LoadSpec
    requests: tuple[PlannedRequest, ...]


@dataclass(slots=True)
class _Chat:
    system: str
    turns: int = 0
    last: int | None = None


class _Author:
    """Writes the texts; equal seeds write equal texts in the same order."""

    def __init__(self, spec: LoadSpec) -> None:
        self._spec = spec
        self._random = Random(spec.seed)
        self._ids = count()
        self._systems = [self._words(spec.system_words) for _ in range(spec.systems)]
        self._documents = [self._words(spec.document_words) for _ in range(spec.documents)]
        self._chats = deque(self._chat() for _ in range(spec.chats))

    def times(self) -> Iterator[float]:
        """Poisson arrivals, in seconds."""
        at_s = 0.0
        while True:
            at_s += self._random.expovariate(self._spec.rate_per_s)
            yield at_s

    def request(self, index: int, at_s: float) -> PlannedRequest:
        """The next request, of a drawn kind."""
        draw = self._random.random()
        if draw < self._spec.chat_share:
            return self._turn(index, at_s)
        if draw < self._spec.chat_share + self._spec.document_share:
            return self._about_document(index, at_s)
        return self._planned(index, at_s, Kind.ONE_OFF, "", self._words(self._spec.one_off_words))

    def _turn(self, index: int, at_s: float) -> PlannedRequest:
        chat = self._chats.popleft()  # the one quiet for longest, so that its last answer is likely there
        text = self._words(self._spec.question_words)
        planned = self._planned(index, at_s, Kind.CHAT, chat.system, text, after=chat.last)
        chat.turns += 1
        chat.last = index
        self._chats.append(chat if chat.turns < self._spec.chat_turns else self._chat())
        return planned

    def _about_document(self, index: int, at_s: float) -> PlannedRequest:
        document = self._random.choice(self._documents)
        question = self._words(self._spec.question_words)
        return self._planned(index, at_s, Kind.DOCUMENT, "", f"{document}\n\n{question}")

    def _planned(
        self, index: int, at_s: float, kind: Kind, system: str, text: str, *, after: int | None = None
    ) -> PlannedRequest:
        return PlannedRequest(index, at_s, kind, system, text, self._spec.max_tokens, after)

    def _chat(self) -> _Chat:
        return _Chat(self._random.choice(self._systems))

    def _words(self, words: int) -> str:
        """Fresh text; its number makes the beginning unlike any other's."""
        body = " ".join(self._random.choices(COMMON_WORDS, k=words))
        return f"Text {next(self._ids)}: {body}."


def make_plan(spec: LoadSpec) -> LoadPlan:
    """The plan of ``spec``: equal specs give equal plans."""
    author = _Author(spec)
    times = author.times()
    requests = tuple(author.request(index, next(times)) for index in range(spec.requests))
    return LoadPlan(spec, requests)
