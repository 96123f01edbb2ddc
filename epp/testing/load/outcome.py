"""What became of one request."""

from dataclasses import dataclass

from epp.testing.load.plan import Kind


@dataclass(frozen=True, slots=True)
class Outcome:
    """Measured at the client; seconds."""

    index: int
    kind: Kind
    sent_s: float
    """After the start of the run."""
    latency_s: float
    """Until the answer was complete, or failed."""
    ttft_s: float | None = None
    """Until the first text; None: there was none."""
    status: int = 0
    """HTTP status; 0: no answer."""
    error: str = ""
    """Why it failed, in words; empty: it did not."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Of the prompt, found in the engine's cache: the engine's word, from ``usage``."""
    completion_tokens: int = 0
    served_by: str = ""
    """The engine's name, from its ``x-served-by`` header."""
    answer: str = ""
