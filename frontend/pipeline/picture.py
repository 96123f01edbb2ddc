"""The row of segments of every mode, drawn from pipelines that were really built.

``python -m frontend.pipeline.picture`` prints the part of docs/frontend-pipeline.md between its markers.
"""

import sys
from collections.abc import Mapping
from typing import Any, Final

from epp.config.model import Config, ModelConfig, TokenizeConfig
from epp.core.endpoints import PoolSnapshot
from epp.core.requests import Prompt
from epp.core.tokens import Exactness, Tokenized
from frontend.config.model import FrontendConfig, PipelineConfig, ToleranceConfig
from frontend.pipeline.build import build_pipeline
from frontend.pipeline.components import Components
from frontend.pipeline.knobs import CONTRADICTIONS, Routing, knobs_of

BEGIN: Final = "<!-- begin: python -m frontend.pipeline.picture -->"
END: Final = "<!-- end -->"

_MODEL: Final = Config(tokenize=TokenizeConfig(models=(ModelConfig("m", "m"),)))
_FULL: Final = ToleranceConfig(migration_limit=3, queue_max_requests=1)

MODES: Final[Mapping[str, FrontendConfig]] = {
    "`--router-mode direct`: beside a worker, or behind a picker": FrontendConfig(
        pipeline=PipelineConfig(router_mode="direct")
    ),
    "`--router-mode direct --postprocess frontend`": FrontendConfig(
        pipeline=PipelineConfig(router_mode="direct", postprocess="frontend"), picker=_MODEL
    ),
    "discover, the default": FrontendConfig(),
    "discover, with a waiting queue and `--migration-limit 3`": FrontendConfig(tolerance=_FULL),
    "discover, with these and `--postprocess frontend`": FrontendConfig(
        pipeline=PipelineConfig(postprocess="frontend"), tolerance=_FULL, picker=_MODEL
    ),
    "`--routing query-only`": FrontendConfig(pipeline=PipelineConfig(routing="query-only")),
}
"""What is drawn, by title."""


def picture() -> str:
    """The rows, and the table of combinations that are refused, as Markdown."""
    rows = [line for title, config in MODES.items() for line in (f"{title}:", "", _drawn(config), "")]
    table = [f"| {row.name.replace('-', ' ')} | {_said(row.sentence)} |" for row in CONTRADICTIONS]
    head = ["| refused | what the operator reads |", "|---|---|"]
    return "\n".join([BEGIN, "", *rows, *head, *table, "", END])


class _NoTokenizer:
    """Knows no model; segments only look at what it could do."""

    async def tokenize(self, model: str, prompt: Prompt) -> Tokenized:  # noqa: ARG002 -- the protocol's
        """See Tokenizer."""
        return Tokenized(b"", Exactness.NONE, 0)

    async def decoder(self, model: str) -> None:  # noqa: ARG002 -- the protocol's
        """No model has one."""
        return


def _unused_components(config: FrontendConfig) -> Components:
    """Parts that segments keep and, unserved, never use."""
    nothing: Any = object()
    pool = PoolSnapshot.of(())
    return Components(
        upstream=nothing,
        snapshot=lambda: pool,
        picker=None if knobs_of(config).routing is Routing.DIRECT else nothing,
        tokenizer=_NoTokenizer(),
        clock=lambda: 0.0,
    )


def _drawn(config: FrontendConfig) -> str:
    names = build_pipeline(config, _unused_components(config)).segments
    return f"```text\nclient → {' → '.join(names)} → worker\n```".replace(" → worker", _end(names))


def _end(names: tuple[str, ...]) -> str:
    return " → worker" if names[-1] == "forward" else ""


def _said(sentence: str) -> str:
    values = {"routing": "…", "migration": "N", "queue": "N", "token_in": "vllm, …"}
    return sentence.format_map(values)


def main() -> None:
    """Print."""
    sys.stdout.write(picture() + "\n")


if __name__ == "__main__":
    main()
