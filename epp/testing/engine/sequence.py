"""One request inside the engine: its tokens, the blocks that hold them, how far it is computed."""

from dataclasses import dataclass, field

from epp.testing.engine.cache import BlockPool, block_hash
from epp.testing.engine.ids import TokenIds, ids


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """What the engine is asked to compute; the answer is decided beforehand, only its timing is simulated."""

    request_id: str
    prompt: TokenIds
    """Token ids, at least one."""
    answer: TokenIds
    """Token ids to produce, at least one."""
    finish_reason: str = "stop"
    """Reported with the last token of ``answer``."""
    lora: tuple[str, int] | None = None
    """Adapter name and number."""
    salt: str | None = None
    """Separates caches of tenants."""
    remote_tokens: int = 0
    """Leading prompt tokens whose KV another engine hands over; they cost no prefill here."""


@dataclass(eq=False, slots=True)
class Sequence:
    """A request's progress. ``tokens`` grows as tokens are produced, ``computed`` as their KV is."""

    request: GenerationRequest
    arrived_s: float
    tokens: TokenIds
    computed: int = 0
    blocks: list[int] = field(default_factory=list[int])
    hashes: list[int] = field(default_factory=list[int])
    """Names of the full blocks of ``tokens``, as far as they were needed."""
    stored: int = 0
    """Leading blocks that are findable."""
    cached_tokens: int | None = None
    """Prompt tokens found in the local cache when first scheduled; None: not scheduled yet."""
    remote_tokens: int = 0
    """Prompt tokens that came from another engine."""
    first_token_s: float | None = None

    @classmethod
    def of(cls, request: GenerationRequest, now_s: float) -> "Sequence":
        """A sequence that has just arrived."""
        return cls(request=request, arrived_s=now_s, tokens=ids(request.prompt))

    @property
    def produced(self) -> int:
        """Tokens of the answer that exist."""
        return len(self.tokens) - len(self.request.prompt)

    @property
    def remaining(self) -> int:
        """Tokens that exist and are not computed."""
        return len(self.tokens) - self.computed

    @property
    def in_prefill(self) -> bool:
        """Whether the next step computes prompt (or, after preemption, lost) tokens."""
        return self.remaining > 1 or self.computed < len(self.request.prompt)

    def names(self, blocks: int, block_tokens: int) -> list[int]:
        """Names of the first ``blocks`` full blocks."""
        extra = self._extra()
        root_extra = extra + (self.request.salt or "").encode()
        for index in range(len(self.hashes), blocks):
            content = self.tokens[index * block_tokens : (index + 1) * block_tokens].tobytes()
            parent = self.hashes[-1] if self.hashes else None
            self.hashes.append(block_hash(parent, content, extra if index else root_extra))
        return self.hashes[:blocks]

    def store_full_blocks(self, pool: BlockPool, upto_tokens: int) -> None:
        """Make the full blocks within the first ``upto_tokens`` tokens findable."""
        size = pool.block_tokens
        full, first = upto_tokens // size, self.stored
        if full <= first:
            return
        names = self.names(full, size)
        pool.store(
            list(zip(self.blocks[first:full], names[first:full], strict=True)),
            names[first - 1] if first else None,
            self.tokens[first * size : full * size],
            self.request.lora,
            self.request.salt,
        )
        self.stored = full

    def drop_blocks(self, pool: BlockPool) -> None:
        """Give every block back; what was computed must be found or computed again."""
        pool.release(self.blocks)
        self.blocks = []
        self.stored = self.computed = 0

    def _extra(self) -> bytes:
        return self.request.lora[0].encode() if self.request.lora else b""
