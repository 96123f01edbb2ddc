"""What one simulated engine is: sizes and speeds, checked once."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Sizes and speeds of one engine; the names follow vLLM's options. Raises ValueError."""

    model: str = "sim"
    """Name the engine serves."""
    loras: tuple[str, ...] = ()
    """Adapter names it serves besides ``model``."""
    block_tokens: int = 16
    """Tokens per KV block (``--block-size``)."""
    total_blocks: int = 2048
    """KV blocks per rank (``--num-gpu-blocks-override``); one of them is the null block, never used."""
    max_model_len: int = 16_384
    """Prompt plus output, in tokens."""
    max_num_seqs: int = 64
    """Sequences batched at once, per rank."""
    max_num_batched_tokens: int = 2048
    """Tokens computed in one step, decodes and prefill chunks together."""
    prefill_tokens_per_s: float = 10_000.0
    """Speed of prompt computation."""
    decode_tokens_per_s: float = 50.0
    """Tokens per second of one undisturbed sequence; its inverse is the time every step takes at least."""
    dp_size: int = 1
    """Data-parallel ranks behind the one HTTP port, each with its own cache and event sockets."""
    seed: int = 0
    """Decides the answers: equal seeds and prompts give equal text."""

    def __post_init__(self) -> None:
        positive = {
            "block_tokens": self.block_tokens,
            "max_model_len": self.max_model_len,
            "max_num_seqs": self.max_num_seqs,
            "prefill_tokens_per_s": self.prefill_tokens_per_s,
            "decode_tokens_per_s": self.decode_tokens_per_s,
            "dp_size": self.dp_size,
        }
        for name, value in positive.items():
            if value <= 0:
                raise ValueError(f"{name} must be positive, not {value}")
        if self.max_num_batched_tokens < self.max_num_seqs:
            raise ValueError("max_num_batched_tokens must be at least max_num_seqs: each decode takes one")
        if self.usable_blocks * self.block_tokens < self.max_model_len:
            raise ValueError("total_blocks is too small: one sequence of max_model_len tokens must fit")

    @property
    def usable_blocks(self) -> int:
        """Blocks that can hold tokens: all but the null block."""
        return self.total_blocks - 1

    @property
    def models(self) -> tuple[str, ...]:
        """Every name a request may carry."""
        return (self.model, *self.loras)
