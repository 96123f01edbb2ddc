"""Prompts to token ids, in this process."""

from epp.tokenize.errors import Reason
from epp.tokenize.loader import LoadState, ModelStatus
from epp.tokenize.metrics import NullMetrics, TokenizeMetrics
from epp.tokenize.service import TokenizerService

__all__ = [
    "LoadState",
    "ModelStatus",
    "NullMetrics",
    "Reason",
    "TokenizeMetrics",
    "TokenizerService",
]
