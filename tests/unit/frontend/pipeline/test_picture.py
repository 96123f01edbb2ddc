"""docs/frontend-pipeline.md shows what is built."""

from pathlib import Path

from frontend.pipeline.picture import BEGIN, END, MODES, picture

PAGE = Path(__file__).parents[4] / "docs" / "frontend-pipeline.md"


def test_the_page_shows_the_rows_that_are_built() -> None:
    page = PAGE.read_text()
    shown = page[page.index(BEGIN) : page.index(END) + len(END)]
    assert shown == picture(), "run: python -m frontend.pipeline.picture, and paste it over the old one"


def test_every_mode_is_drawn_once() -> None:
    drawn = [line for line in picture().splitlines() if line.startswith("client → ")]
    assert len(drawn) == len(MODES)
    assert len(set(drawn)) == len(MODES)
