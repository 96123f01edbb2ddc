"""The catalogue is documented, and each of its types can be made."""

from pathlib import Path

import pytest

from epp.core.scheduling import catalogue
from epp.core.scheduling.plugin import Decider, Filter, Picker, Scorer
from tests.unit.scheduling.builders import build, plugin

PAGE = (Path(__file__).parents[3] / "docs" / "plugins.md").read_text()
NEEDED = {
    "by-label": "{label: a, validValues: [b]}",
    "utilization-filter": "{conditions: [{metric: waiting-queue, maxValue: 1}]}",
    "header-label-affinity-scorer": "{headerName: a, labelKey: b}",
    "file-discovery": "{path: endpoints.yaml}",
}
ALL = [
    *catalogue.FILTERS,
    *catalogue.SCORERS,
    *catalogue.PICKERS,
    *catalogue.HANDLERS,
    *catalogue.DECIDERS,
    *catalogue.STAND_INS,
]


@pytest.mark.parametrize("type_", ALL)
def test_every_type_is_on_the_page(type_: str) -> None:
    assert f"`{type_}`" in PAGE


def test_no_type_has_two_meanings() -> None:
    assert len(set(ALL)) == len(ALL)


@pytest.mark.parametrize(
    ("types", "contract"),
    [(catalogue.FILTERS, Filter), (catalogue.SCORERS, Scorer), (catalogue.PICKERS, Picker)],
)
def test_every_plugin_keeps_its_contract(types: dict[str, object], contract: type) -> None:
    for type_ in types:
        assert isinstance(plugin(type_, NEEDED.get(type_, "{}")), contract), type_


def test_deciders_decide() -> None:
    for type_ in catalogue.DECIDERS:
        text = (
            f"plugins: [{{type: {type_}}}, {{type: disagg-profile-handler,"
            f" parameters: {{deciders: {{prefill: {type_}}}}}}}]\n"
            "schedulingProfiles: [{name: decode}, {name: prefill}]"
        )
        assert len(build(text).policy.profiles) == 2
    assert isinstance(catalogue.AlwaysSplit(), Decider)


@pytest.mark.parametrize("type_", catalogue.STAND_INS)
def test_stand_ins_are_accepted(type_: str) -> None:
    built = build(
        f"plugins: [{{type: queue-scorer}}, {{type: {type_}, parameters: {NEEDED.get(type_, '{}')}}}]"
    )
    assert [entry.name for entry in built.policy.profiles[0].scorers] == ["queue-scorer"]
