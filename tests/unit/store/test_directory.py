"""Local tables say what they are copies of, and those of something else are never read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from barstream.errors import StateUnusable
from barstream.store.directory import NAME, StateIdentity, admit

NOW = StateIdentity("app", "cluster", {"finals": "id-1", "series": "id-2"})


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """With a table in it."""
    made = tmp_path / "tables"
    (made / "finals-0.db").mkdir(parents=True)
    return made


def known(directory: Path, identity: StateIdentity) -> None:
    identity.write(directory / NAME)


def test_an_empty_directory_is_taken(tmp_path: Path) -> None:
    admit(tmp_path / "tables", NOW, is_open=False)
    assert StateIdentity.read(tmp_path / "tables" / NAME) == NOW
    assert [each.name for each in tmp_path.iterdir()] == ["tables"]


def test_tables_of_the_same_topics_stay(directory: Path) -> None:
    known(directory, replace(NOW, version="0.0.1"))
    admit(directory, NOW, is_open=False)
    assert (directory / "finals-0.db").exists()
    assert StateIdentity.read(directory / NAME) == NOW


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (replace(NOW, format=99, version="9.9"), "format 99 of barstream 9.9"),
        (replace(NOW, cluster="another"), "cluster another"),
        (replace(NOW, app_id="other"), "application other"),
        (None, "earlier version"),
    ],
)
def test_tables_of_something_else_are_moved_aside_and_kept(
    directory: Path, found: StateIdentity | None, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    if found is not None:
        known(directory, found)
    admit(directory, NOW, is_open=False)
    assert not (directory / "finals-0.db").exists()
    (aside,) = (each for each in directory.parent.iterdir() if each != directory)
    assert (aside / "finals-0.db").exists()
    assert why in caplog.text
    assert str(aside) in caplog.text
    assert StateIdentity.read(directory / NAME) == NOW


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "x"}', '{"format": 1, "topics": []}'])
def test_a_file_that_cannot_be_understood_vouches_for_nothing(directory: Path, text: str) -> None:
    (directory / NAME).write_text(text)
    admit(directory, NOW, is_open=False)
    assert not (directory / "finals-0.db").exists()


def test_a_changelog_that_was_made_again_is_refused_and_its_copy_stays(directory: Path) -> None:
    """It may be the only one: what the topic held is not in Kafka any more."""
    known(directory, NOW)
    again = replace(NOW, topics={"finals": "id-9", "series": "id-2"})
    with pytest.raises(StateUnusable, match=r"finals must be the topic id-1.* mv "):
        admit(directory, again, is_open=False)
    assert (directory / "finals-0.db").exists()
    assert StateIdentity.read(directory / NAME) == NOW, "it is refused at the next start, too"


def test_a_topic_that_comes_or_goes_is_no_other_topic(directory: Path) -> None:
    known(directory, NOW)
    added = replace(NOW, topics={"finals": "id-1", "rate_5m": "id-3"})
    admit(directory, added, is_open=False)
    found = StateIdentity.read(directory / NAME)
    assert found is not None
    assert found.topics == {"finals": "id-1", "series": "id-2", "rate_5m": "id-3"}


def test_brokers_that_tell_no_ids_are_believed(directory: Path) -> None:
    known(directory, NOW)
    admit(directory, StateIdentity("app"), is_open=False)
    assert (directory / "finals-0.db").exists()
    found = StateIdentity.read(directory / NAME)
    assert found is not None
    assert (found.cluster, found.topics) == (NOW.cluster, NOW.topics), "nothing is forgotten"


def test_tables_that_are_open_are_not_moved(directory: Path) -> None:
    known(directory, replace(NOW, cluster="another"))
    with pytest.raises(StateUnusable, match="while the worker runs"):
        admit(directory, NOW, is_open=True)
    assert (directory / "finals-0.db").exists()
