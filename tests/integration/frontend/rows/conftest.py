"""Pools and frontends of the eighteen rows: two aggregated workers, two pairs, and half a pair."""

from typing import Any

import pytest

from epp.core.blocks import worker_id_of
from tests.integration.frontend.conftest import MODEL, Front, Site


def worker_id(entry: dict[str, Any]) -> int:
    """The id an endpoints file's entry gets."""
    return worker_id_of("default", entry["name"])


@pytest.fixture(scope="session")
def pairs(site: Site) -> dict[str, list[dict[str, Any]]]:
    """Two prefill and two decode engines."""
    return {role: site.engines(2, "--role", role) for role in ("prefill", "decode")}


def _discovering(site: Site, *entries: dict[str, Any]) -> Front:
    flags = ("--router-mode", "kv", "--model-path", str(site.model_dir), "--model-name", MODEL)
    return site.frontend(site.endpoints(*entries), *flags)


@pytest.fixture(scope="session")
def fronts(site: Site, pool: Any, pairs: Any, front: Front) -> dict[tuple[str, str], Front]:
    """By mode and pool."""
    both = [*pairs["prefill"], *pairs["decode"]]
    direct = ("--router-mode", "direct")
    return {
        ("kv", "agg"): front,
        ("kv", "pd"): _discovering(site, *both).serves(),
        ("kv", "half"): _discovering(site, *pairs["decode"]),
        ("direct", "agg"): site.frontend(site.endpoints(*pool), *direct),
        ("direct", "pd"): site.frontend(site.endpoints(*both), *direct),
        ("direct", "half"): site.frontend(site.endpoints(*pairs["decode"]), *direct),
    }
