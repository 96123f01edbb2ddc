"""A simulated vLLM: the same sockets, formats and cache behaviour, with arithmetic instead of a model.

It is honest: cached tokens, hit counters and KV events all come from the engine's own paged cache, which
knows nothing of the picker. Nothing in this package imports the rest of ``epp``, so agreement between the
two is a result and never an assumption.

``config`` → ``cache`` (paged prefix cache) → ``sequence`` → ``sim`` (continuous batching, sans-IO, time is
an argument) → ``runner`` (asyncio) → ``http`` + ``publisher`` (sockets) → ``fleet`` (several engines in one
process) → ``python -m epp.testing.engine``.
"""

from epp.testing.engine.config import EngineConfig
from epp.testing.engine.sim import GenerationRequest, SimEngine, StepResult

__all__ = ["EngineConfig", "GenerationRequest", "SimEngine", "StepResult"]
