"""The list of cases, and the page that shows it."""

from pathlib import Path

import pytest

from epp.conformance.catalogue import AREAS, CASES, chosen
from epp.conformance.model import Case, Profile
from epp.conformance.reference import render

PAGE = Path(__file__).parents[3] / "docs" / "conformance.md"


def test_ids_are_unique_and_of_a_known_area() -> None:
    names = [case.id for case in CASES]
    assert len(set(names)) == len(names)
    assert {case.area for case in CASES} == AREAS.keys()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_every_rule_is_said_in_a_sentence(case: Case) -> None:
    assert case.expected.endswith(".")
    assert len(case.expected) > 20


def test_profiles_and_patterns() -> None:
    everything = chosen(Profile.GATEWAY)
    assert everything == CASES
    assert {case.profile for case in chosen(Profile.EPP)} == {Profile.EPP}
    assert [case.id for case in chosen(Profile.EPP, ("subset.one", "timing"))] == [
        "subset.one",
        "timing.small",
        "timing.large",
    ]
    assert chosen(Profile.EPP, ("suite.",)) == ()


def test_the_page_is_fresh() -> None:
    page = PAGE.read_text()
    assert render(page) == page, "run: python -m epp.conformance.reference docs/conformance.md"


def test_a_page_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="no place"):
        render("nothing")
