"""The dashboard and the alert rules ask for series and labels that exist, in PromQL that parses."""

import json
import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
import yaml

from tests.manifests.built import one
from tests.manifests.envoy_files import MANIFESTS

DOCS = MANIFESTS.parent / "docs"
_FOLDER = MANIFESTS / "components" / "monitoring"
DASHBOARD = json.loads((_FOLDER / "dashboard.json").read_text())
_ROW = re.compile(r"^\| `(\w+)` \| (counter|gauge|histogram|summary) \| (.*?) \|", re.MULTILINE)
_FROM_SCRAPING = {"namespace", "pod", "job"}
"""Labels that Prometheus adds."""
_OF_THE_PROCESS = {"process_cpu_seconds_total", "process_resident_memory_bytes"}


def _rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((_FOLDER / "alerts.yaml").read_text())["spec"]["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def _series() -> dict[str, set[str]]:
    """Every series of the two reference pages, with its labels."""
    found: dict[str, set[str]] = {name: set() for name in _OF_THE_PROCESS}
    for page in ("metrics.md", "frontend-metrics.md"):
        for name, kind, labels in _ROW.findall((DOCS / page).read_text()):
            known = set(re.findall(r"`(\w+)`", labels))
            if kind in ("histogram", "summary"):
                found |= {f"{name}_{part}": known for part in ("sum", "count")}
            if kind == "histogram":
                found[f"{name}_bucket"] = known | {"le"}
            elif kind != "summary":
                found[name] = known
    return found


_SERIES = _series()
_PANELS = {
    f"{panel['title']} {target['refId']}": target["expr"].replace("$__rate_interval", "5m")
    for panel in DASHBOARD["panels"]
    for target in panel.get("targets", ())
}
_QUERIES = {**_PANELS, **{rule["alert"]: rule["expr"] for rule in _rules()}}


def _walk(expression: Any) -> Iterator[Any]:
    """An expression and all below it."""
    yield expression
    for name in ("lhs", "rhs", "expr", "vector_selector", "param"):
        if (below := getattr(expression, name, None)) is not None:
            yield from _walk(below)
    for below in getattr(expression, "args", None) or ():
        yield from _walk(below)


def _asked(expression: Any) -> dict[str, set[str]]:
    """The series of an expression, and the labels each is matched or grouped by."""
    nodes = list(_walk(expression))
    selectors = [node for node in nodes if isinstance(node, promql_parser.VectorSelector)]
    return {node.name: {m.name for m in node.matchers.matchers} for node in selectors}


def _grouped(expression: Any) -> Iterator[tuple[set[str], set[str]]]:
    """For each aggregation: the labels it keeps, and the series it is over."""
    for node in _walk(expression):
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            yield set(node.modifier.labels), set(_asked(node.expr))


@pytest.mark.parametrize("query", _QUERIES.values(), ids=_QUERIES)
def test_asks_for_what_exists(query: str) -> None:
    expression = promql_parser.parse(query)
    asked = _asked(expression)
    assert asked
    for name, labels in asked.items():
        assert name in _SERIES, f"no such series: {name}"
        assert labels <= _SERIES[name] | _FROM_SCRAPING, name
    for labels, names in _grouped(expression):
        for name in names:
            assert labels <= _SERIES[name] | _FROM_SCRAPING, name


def test_what_does_not_exist_is_noticed() -> None:
    assert "epp_no_such_thing" in _asked(promql_parser.parse("sum(rate(epp_no_such_thing[5m]))"))
    assert not set(_asked(promql_parser.parse("epp_no_such_thing"))) & set(_SERIES)
    with pytest.raises(ValueError, match="rate"):
        promql_parser.parse("rate(epp_ready)")


def test_rates_are_of_what_only_grows() -> None:
    kinds = {name: kind for page in ("metrics.md", "frontend-metrics.md") for name, kind, _ in _rows(page)}
    for title, query in _QUERIES.items():
        for name in re.findall(r"\b(?:rate|increase)\((\w+)", query):
            base = re.sub(r"_bucket$", "", name)
            assert kinds.get(base, "counter") in ("counter", "histogram"), title


def _rows(page: str) -> list[tuple[str, str, str]]:
    return _ROW.findall((DOCS / page).read_text())


@pytest.mark.parametrize("rule", _rules(), ids=lambda rule: rule["alert"])
def test_alerts_say_what_to_do_with_labels_they_have(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    summary, description = rule["annotations"]["summary"], rule["annotations"]["description"]
    assert summary.endswith(".")
    assert description
    kept = {label for labels, _ in _grouped(promql_parser.parse(rule["expr"])) for label in labels}
    assert set(re.findall(r"\$labels\.(\w+)", summary)) <= kept


def test_panels_lie_beside_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + dx, at["y"] + dy) for dx in range(at["w"]) for dy in range(at["h"])}
        assert not taken & cells, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_the_dashboard_reaches_grafana_whole() -> None:
    shipped = one("components/monitoring", "ConfigMap", "epp-dashboard")
    assert json.loads(shipped["data"]["epp.json"]) == DASHBOARD
    assert shipped["metadata"]["labels"] == {"grafana_dashboard": "1"}
