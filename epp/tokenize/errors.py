"""Why a prompt or a model could not be handled. The words reach headers, metrics and logs."""

from enum import StrEnum


class Reason(StrEnum):
    """Every value ``Tokenized.degraded`` can have; docs/tokenization.md explains each."""

    NO_TOKENIZER = "no-tokenizer"
    UNKNOWN_MODEL = "unknown-model"
    LOADING = "tokenizer-loading"
    FAILED = "tokenizer-failed"
    CLOSED = "tokenizer-closed"
    NO_TEMPLATE = "no-chat-template"
    TEMPLATE_REFUSED = "template-refused"
    TEMPLATE_ERROR = "template-error"
    TEMPLATE_TIMEOUT = "template-timeout"
    BAD_CONTENT = "unsupported-content"
    BAD_TEXT = "invalid-text"
    BAD_TOKENS = "invalid-token-ids"
    NO_PROMPT = "empty-prompt"
    QUEUE_FULL = "tokenizer-queue-full"
    DEADLINE = "tokenizer-deadline"
    ENCODE_ERROR = "tokenizer-error"
    MULTIMODAL = "multimodal"


class PromptError(Exception):
    """A prompt cannot be turned into the engine's tokens; the pick goes on without them."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason.value)
        self.reason = reason


class LoadError(Exception):
    """A model's tokenizer files are missing, unreadable or contradictory."""
