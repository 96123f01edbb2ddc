"""The reference page is what the table says."""

from pathlib import Path

from epp.config.docstrings import describe
from epp.config.reference import render
from epp.config.settings import DEFAULTS, TABLE

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_the_page_is_fresh() -> None:
    assert PAGE.read_text() == render(), "run: python -m epp.config.reference > docs/configuration.md"


def test_every_field_says_what_it_means() -> None:
    assert [path for path in DEFAULTS if not describe(TABLE, path)] == []
