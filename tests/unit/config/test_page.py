"""The page about settings is written from them, so it cannot say anything else."""

from __future__ import annotations

from pathlib import Path

from barstream.config.names import known_paths, owner_of
from barstream.config.page import page

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_the_page_is_what_the_settings_say() -> None:
    """If this fails: ``python -m barstream.config.page > docs/configuration.md``."""
    assert PAGE.read_text() == page()


def test_every_setting_says_what_it_means() -> None:
    for path in known_paths():
        assert owner_of(path).model_fields[path[-1]].description, path
