"""Settings of the frontend that contradict each other, as rows; those of the engine inside are the picker's.

What only the assembly of a pipeline can judge is refused there (:mod:`frontend.pipeline.knobs`).
"""

from collections.abc import Iterator

from epp.config.model import Config
from epp.config.rules import Rule, Sources, broken, said
from epp.config.validate import RULES as ENGINE_RULES
from frontend.config.model import FrontendConfig
from frontend.config.settings import ENGINE, TABLE

_PER_ENGINE = ("vllm", "sglang")


def _pool(config: FrontendConfig) -> bool:
    """Whether the settings name a pool, or labels in its place."""
    return config.picker.pool.name is not None or config.picker.pool.selector is not None


RULES: tuple[Rule[FrontendConfig], ...] = (
    Rule(
        lambda c: (c.http.tls_cert_path is None) != (c.http.tls_key_path is None),
        "http.tls_cert_path",
        "http.tls_key_path",
        "a certificate and its key go together",
    ),
    Rule(
        lambda c: c.http.tls_client_ca_path is not None and c.http.tls_cert_path is None,
        "http.tls_client_ca_path",
        "http.tls_cert_path",
        "clients cannot be authenticated without TLS",
    ),
    Rule(
        lambda c: c.pipeline.router_mode == "direct" and not c.picker.server.trust_client_headers,
        "pipeline.router_mode",
        "picker.server.trust_client_headers",
        "who goes where requests say has to believe them",
    ),
    Rule(
        lambda c: c.pipeline.routing == "direct-to-known" and not c.picker.server.trust_client_headers,
        "pipeline.routing",
        "picker.server.trust_client_headers",
        "who goes where requests say has to believe them",
    ),
    Rule(
        lambda c: c.pipeline.debug_perf and c.pipeline.chat_processor != "vllm",
        "pipeline.debug_perf",
        "pipeline.chat_processor",
        "only the vllm chat processor has steps to time",
    ),
    Rule(
        lambda c: c.pipeline.preprocess_workers > 0 and c.pipeline.chat_processor != "vllm",
        "pipeline.preprocess_workers",
        "pipeline.chat_processor",
        "only the vllm chat processor works in processes of its own",
    ),
    Rule(
        lambda c: c.pipeline.trust_remote_code and c.pipeline.chat_processor not in _PER_ENGINE,
        "pipeline.trust_remote_code",
        "pipeline.chat_processor",
        "only an engine's own chat processor runs code of a model repository",
    ),
    Rule(
        lambda c: c.tolerance.migration_max_seq_len is not None and c.tolerance.migration_limit == 0,
        "tolerance.migration_max_seq_len",
        "tolerance.migration_limit",
        "without migration its longest sequence limits nothing",
    ),
    Rule(
        lambda c: c.tolerance.queue_max_tokens is not None and c.tolerance.queue_max_requests == 0,
        "tolerance.queue_max_tokens",
        "tolerance.queue_max_requests",
        "without a queue its tokens limit nothing",
    ),
    Rule(
        lambda c: c.disagg.min_uncached_tokens > 0 and not c.disagg.enabled,
        "disagg.min_uncached_tokens",
        "disagg.enabled",
        "a threshold for something that is switched off",
    ),
    Rule(
        lambda c: c.disagg.min_prompt_tokens > 0 and not c.disagg.enabled,
        "disagg.min_prompt_tokens",
        "disagg.enabled",
        "a threshold for something that is switched off",
    ),
    Rule(
        lambda c: c.interactive and c.pipeline.routing == "query-only",
        "interactive",
        "pipeline.routing",
        "a pipeline that executes nothing has no answers to show",
    ),
    Rule(
        lambda c: c.interactive and c.pipeline.router_mode == "direct",
        "interactive",
        "pipeline.router_mode",
        "a chat names no worker, so one has to be chosen",
    ),
    Rule(
        lambda c: c.interactive and c.pipeline.routing == "direct-to-known",
        "interactive",
        "pipeline.routing",
        "a chat names no worker, so one has to be chosen",
    ),
    Rule(
        lambda c: c.picker.discovery.endpoints_file is not None and c.discovery_backend != "file",
        "picker.discovery.endpoints_file",
        "discovery_backend",
        "endpoints come from one place",
    ),
    Rule(
        lambda c: c.discovery_backend == "kubernetes" and not _pool(c),
        "discovery_backend",
        "picker.pool.name",
        "Kubernetes is asked for a pool by its name, or for pods by their labels",
    ),
    Rule(
        lambda c: c.discovery_backend != "kubernetes" and c.picker.pool.name is not None,
        "discovery_backend",
        "picker.pool.name",
        "endpoints come from one place",
    ),
    Rule(
        lambda c: c.discovery_backend != "kubernetes" and c.picker.pool.selector is not None,
        "discovery_backend",
        "picker.pool.selector",
        "endpoints come from one place",
    ),
    Rule(
        lambda c: c.picker.discovery.endpoints_file is None and c.discovery_backend == "file",
        "discovery_backend",
        "picker.discovery.endpoints_file",
        "discovery by a file needs one",
    ),
)


def _lifted(rule: Rule[Config]) -> Rule[FrontendConfig]:
    """A rule of the picker, asked of the engine inside."""
    return Rule(
        lambda config: rule.is_broken(config.picker),
        ENGINE + rule.first,
        ENGINE + rule.second,
        rule.because,
        rule.only_if_given,
    )


def _of_engine() -> Iterator[Rule[FrontendConfig]]:
    """The picker's rules whose settings the frontend has too."""
    for rule in ENGINE_RULES:
        if ENGINE + rule.first in TABLE.by_path and ENGINE + rule.second in TABLE.by_path:
            yield _lifted(rule)


_ALL_RULES = (*RULES, *_of_engine())


def contradictions(config: FrontendConfig, sources: Sources) -> list[str]:
    """One sentence for each pair of settings that cannot be together, naming both."""
    return [*broken(_ALL_RULES, TABLE, config, sources), *_paths(config)]


def _paths(config: FrontendConfig) -> Iterator[str]:
    """Two endpoints at one path."""
    seen: dict[str, str] = {}
    for name, path in config.http.paths.items():
        first = seen.setdefault(path, name)
        if first != name:
            one, other = (TABLE.said(f"http.paths.{key}", path) for key in (first, name))
            yield f"{one} and {other} contradict each other: each endpoint needs a path of its own."


def remarks(config: FrontendConfig, sources: Sources) -> tuple[str, ...]:
    """Sentences on parts of the configuration that are accepted and have no effect."""
    profiles = config.picker.picker
    if profiles is None:
        return ()
    unused: tuple[str, ...] = ()
    if config.pipeline.router_mode != "scorers":
        chosen = said(TABLE, "pipeline.router_mode", config, sources)
        unused = (f"The profiles of {profiles.where} have no effect: {chosen} chooses another policy.",)
    return (*profiles.notes, *unused)
