"""What follows from a setting for other fields: one word decides the mode, the policy and the source."""

from dataclasses import replace

from epp.config.gather import Gathered
from frontend.config.model import FrontendConfig


def derive(config: FrontendConfig, gathered: Gathered) -> FrontendConfig:
    """The configuration with the fields filled that follow from others; their sources too."""
    return _engine(_backend(config, gathered))


def _backend(config: FrontendConfig, gathered: Gathered) -> FrontendConfig:
    """A given endpoints file or pool is where endpoints come from, unless another backend was asked for."""
    if gathered.source("discovery_backend").is_given:
        return config
    for path, value, backend in (
        ("picker.discovery.endpoints_file", config.picker.discovery.endpoints_file, "file"),
        ("picker.pool.name", config.picker.pool.name, "kubernetes"),
        ("picker.pool.selector", config.picker.pool.selector, "kubernetes"),
    ):
        if value is not None:
            gathered.sources["discovery_backend"] = gathered.source(path)
            return replace(config, discovery_backend=backend)
    return config


def _engine(config: FrontendConfig) -> FrontendConfig:
    """The engine's fields that the frontend has under names of its own."""
    picker, disagg, mode = config.picker, config.disagg, config.pipeline.router_mode
    return replace(
        config,
        picker=replace(
            picker,
            server=replace(
                picker.server,
                max_body_bytes=config.http.body_limit_bytes,
                retry_after_s=config.http.retry_after_s,
            ),
            discovery=replace(
                picker.discovery,
                backend=config.discovery_backend,
                namespace=config.namespace,
                namespace_prefix=config.namespace_prefix,
            ),
            routing=replace(
                picker.routing,
                policy=picker.routing.policy if mode == "direct" else mode,
                disagg_enabled=disagg.enabled,
                disagg_min_uncached_tokens=disagg.min_uncached_tokens,
                disagg_min_prompt_tokens=disagg.min_prompt_tokens,
            ),
        ),
    )
