"""Which parsers read a model's answers: by name, or by what its chat template writes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from epp.tokenize.decoding import TokenDecoder
from frontend.postprocess.pieces import CallArguments, CallStart, Content, Piece
from frontend.postprocess.reasoning import MISTRAL_THINK, THINK, Marks, ReasoningParser
from frontend.postprocess.toolplan import Choice, ToolPlan
from frontend.postprocess.tools.base import TextOnly, ToolParser
from frontend.postprocess.tools.glm import KEY, GlmParser
from frontend.postprocess.tools.harmony import CHANNEL, HarmonyParser
from frontend.postprocess.tools.hermes import HermesParser
from frontend.postprocess.tools.objects import Llama3Parser, MistralParser, NamedParser, RequiredParser
from frontend.postprocess.tools.pythonic import PythonicParser
from frontend.postprocess.tools.sections import DEEPSEEK, KIMI_K2, SectionParser
from frontend.postprocess.tools.tags import DEEPSEEK_V32, MINIMAX_M2, QWEN3_CODER, TagParser

AUTO: Final = "auto"
_TAIL_TOKENS: Final = 64
"""As much of a prompt's end is read to see whether its template opened the reasoning."""


class AnswerParser(Protocol):
    """One choice's text → pieces of the answer, the same however the text is cut. Never raises."""

    @property
    def reasoning(self) -> bool:
        """In the middle of reasoning."""
        ...

    def feed(self, text: str, tokens: Sequence[int]) -> list[Piece]:
        """What is certain with ``text``, which ``tokens`` brought, that was not before."""
        ...

    def finish(self) -> list[Piece]:
        """The rest, when nothing follows."""
        ...


def _known(plan: ToolPlan) -> frozenset[str]:
    return frozenset(plan.tools)


_TOOL_PARSERS: Final[Mapping[str, Callable[[ToolPlan], ToolParser]]] = {
    "none": lambda _: TextOnly(),
    "hermes": lambda plan: HermesParser(_known(plan)),
    "llama3_json": lambda plan: Llama3Parser(_known(plan)),
    "mistral": lambda _: MistralParser(),
    "qwen3_coder": lambda plan: TagParser(QWEN3_CODER, plan.tools),
    "glm45": lambda plan: GlmParser(plan.tools),
    "minimax_m2": lambda plan: TagParser(MINIMAX_M2, plan.tools),
    "kimi_k2": lambda _: SectionParser(KIMI_K2),
    "deepseek_v3": lambda _: SectionParser(DEEPSEEK),
    "deepseek_v31": lambda _: SectionParser(DEEPSEEK),
    "deepseek_v32": lambda plan: TagParser(DEEPSEEK_V32, plan.tools),
    "gpt_oss": lambda _: HarmonyParser(),
    "pythonic": lambda plan: PythonicParser(_known(plan)),
}
_REASONING: Final[Mapping[str, tuple[Marks | None, bool]]] = {
    "none": (None, False),
    "qwen3": (THINK, False),
    "deepseek_r1": (THINK, True),
    "mistral": (MISTRAL_THINK, False),
    "gpt_oss": (None, False),  # its parser of calls finds the reasoning, too
}
"""Marks, and whether the first of them is understood when neither prompt nor answer has it."""
_WHOLE_ANSWERS: Final = frozenset({"gpt_oss"})
"""Formats in which text, too, has to be found first."""
TOOL_PARSERS: Final = (AUTO, *_TOOL_PARSERS)
REASONING_PARSERS: Final = (AUTO, *_REASONING)

_TEMPLATE_SIGNS: Final = (
    ("[TOOL_CALLS]", "mistral"),
    (CHANNEL, "gpt_oss"),
    (DEEPSEEK.calls_begin, "deepseek_v3"),
    (*DEEPSEEK_V32.tokens, "deepseek_v32"),
    (KIMI_K2.calls_begin, "kimi_k2"),
    (*MINIMAX_M2.outer, "minimax_m2"),
    (KEY, "glm45"),
    (QWEN3_CODER.call, "qwen3_coder"),
    ("<tool_call>", "hermes"),
    ("<|python_tag|>", "llama3_json"),
    ('{"name": function name, "parameters"', "llama3_json"),
)
"""What only one family's templates hold, the more telling first."""


def tool_parser_name(configured: str, decoder: TokenDecoder) -> str:
    """``configured``, or for ``auto`` the one whose signs the chat templates hold."""
    if configured != AUTO:
        return configured
    return next((name for sign, name in _TEMPLATE_SIGNS if sign in decoder.templates), "none")


def reasoning_parser_name(configured: str, decoder: TokenDecoder) -> str:
    """``configured``, or for ``auto`` the one whose marks the chat templates hold."""
    if configured != AUTO:
        return configured
    if CHANNEL in decoder.templates:
        return "gpt_oss"
    if THINK.start in decoder.templates:
        return "qwen3"
    return "mistral" if MISTRAL_THINK.start in decoder.templates else "none"


def tool_parser(name: str, plan: ToolPlan) -> ToolParser:
    """A parser for one choice."""
    match plan.choice:
        case Choice.NONE:
            return _TOOL_PARSERS[name](plan) if name in _WHOLE_ANSWERS else TextOnly()
        case Choice.NAMED:
            return NamedParser(plan.name)
        case Choice.REQUIRED:
            return RequiredParser(_known(plan))
        case Choice.AUTO:
            return _TOOL_PARSERS[name](plan)


def reasoning_parser(name: str, decoder: TokenDecoder, prompt: Sequence[int]) -> ReasoningParser | None:
    """A parser for one choice; ``prompt`` tells whether its template opened or closed the reasoning."""
    marks, understood = _REASONING[name]
    if marks is None:
        return None
    tail = decoder.decode(prompt[-_TAIL_TOKENS:], skip_special=False)
    opened, closed = tail.rfind(marks.start), tail.rfind(marks.end)
    inside = opened > closed if max(opened, closed) >= 0 and _ends_prompt(tail, marks) else understood
    return ReasoningParser(marks, inside=inside)


def _ends_prompt(tail: str, marks: Marks) -> bool:
    """The prompt's last text is a mark: the template's doing, not a conversation's."""
    return tail.rstrip().endswith((marks.start, marks.end))


class ParsedAnswer:
    """Reasoning first, then calls in what is no reasoning."""

    def __init__(
        self, reasoning: ReasoningParser | None, tools: ToolParser, *, parallel: bool = True
    ) -> None:
        self._reasoning = reasoning
        self._tools = tools
        self._parallel = parallel
        self._calls = 0

    @property
    def reasoning(self) -> bool:
        """See AnswerParser."""
        return self._tools.reasoning if self._reasoning is None else self._reasoning.inside

    def feed(self, text: str, tokens: Sequence[int]) -> list[Piece]:  # noqa: ARG002 -- other parsers want them
        """See AnswerParser."""
        if self._reasoning is None:
            return self._allowed(self._tools.feed(text))
        return self._through(self._reasoning.feed(text))

    def finish(self) -> list[Piece]:
        """See AnswerParser."""
        rest = self._through(self._reasoning.finish()) if self._reasoning else []
        return rest + self._allowed(self._tools.finish())

    def _through(self, pieces: list[Piece]) -> list[Piece]:
        out: list[Piece] = []
        for piece in pieces:
            out += self._allowed(self._tools.feed(piece.text)) if isinstance(piece, Content) else [piece]
        return out

    def _allowed(self, pieces: list[Piece]) -> list[Piece]:
        """Without ``parallel_tool_calls`` the first call is the only one."""
        if self._parallel:
            return pieces
        out: list[Piece] = []
        for piece in pieces:
            self._calls += isinstance(piece, CallStart)
            if self._calls <= 1 or not isinstance(piece, (CallStart, CallArguments)):
                out.append(piece)
        return out
