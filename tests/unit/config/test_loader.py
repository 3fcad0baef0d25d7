"""Settings come from defaults, the file, the environment and options; each knows its source."""

from __future__ import annotations

from pathlib import Path

import pytest

from barstream.config import HeartbeatSettings, Settings, TickSettings, load_settings
from barstream.config.names import SHORT_FORMS, known_paths, variable
from barstream.errors import ConfigError


@pytest.fixture
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory of the test, without a settings file."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(directory: Path, text: str, name: str = "barstream.toml") -> Path:
    file = directory / name
    file.write_text(text)
    return file


def test_nothing_set_gives_the_documented_defaults(empty_directory: Path) -> None:
    settings = load_settings(env={})

    assert settings == Settings()
    assert settings.bootstrap == "127.0.0.1:9092"
    assert settings.topics.heartbeats == "hb_1m"
    assert set(settings.sources.values()) == {"default"}


def test_later_layers_win_and_every_value_knows_its_source(tmp_path: Path) -> None:
    """A wrong value is mended where it stands, so the place has to be known."""
    file = written(tmp_path, "app_id = 'a'\nbootstrap = 'file:1'\n[web]\nport = 1\nhost = 'h'\n")

    settings = load_settings(
        file,
        env={"BARSTREAM_BOOTSTRAP": "env:2", "BARSTREAM_WEB__PORT": "2"},
        overrides={"web.port": 3},
    )

    assert (settings.app_id, settings.bootstrap) == ("a", "env:2")
    assert (settings.web.host, settings.web.port) == ("h", 3)
    assert settings.sources["app_id"] == str(file)
    assert settings.sources["bootstrap"] == "environment BARSTREAM_BOOTSTRAP"
    assert settings.sources["web.port"] == "command line"
    assert settings.sources["bars.grace_s"] == "default"


def test_the_file_is_found_by_option_then_variable_then_current_directory(
    empty_directory: Path,
) -> None:
    written(empty_directory, "app_id = 'here'")
    other = written(empty_directory, "app_id = 'variable'", "other.toml")
    option = written(empty_directory, "app_id = 'option'", "option.toml")
    env = {"BARSTREAM_CONFIG": str(other)}

    assert load_settings(env={}).app_id == "here"
    assert load_settings(env=env).app_id == "variable"
    assert load_settings(option, env=env).app_id == "option"


def test_promised_short_variables_work(empty_directory: Path) -> None:
    settings = load_settings(
        env={
            "BARSTREAM_BOOTSTRAP": "k:9092",
            "BARSTREAM_DATA_DIR": "/var/lib/barstream",
            "BARSTREAM_WEB_PORT": "7000",
            "BARSTREAM_APP_ID": "mine",
        }
    )

    assert settings.data_dir == Path("/var/lib/barstream")
    assert (settings.bootstrap, settings.web.port, settings.app_id) == ("k:9092", 7000, "mine")


def test_every_setting_has_a_variable_of_its_own() -> None:
    names = [variable(path) for path in known_paths()]

    assert len(set(names)) == len(names)
    assert not set(names) & set(SHORT_FORMS)


def test_entries_of_a_mapping_are_overridden_one_by_one(tmp_path: Path) -> None:
    """One spelling per broker: the file's ``oanda`` and the variable's OANDA are one entry."""
    file = written(tmp_path, "[heartbeats.feed_delay_s]\noanda = 900\nfxcm = 60\n")

    settings = load_settings(
        file,
        env={
            "BARSTREAM_HEARTBEATS__FEED_DELAY_S__OANDA": "1.5",
            "BARSTREAM_TOPICS__OVERRIDES": '{"Rate_1m_Final": "bars"}',
        },
    )

    assert settings.heartbeats.feed_delay_us == {"OANDA": 1_500_000, "FXCM": 60_000_000}
    assert settings.topics.overrides == {"rate_1m_final": "bars"}
    assert settings.sources["heartbeats.feed_delay_s.FXCM"] == str(file)


def test_where_case_is_kept_brokers_that_differ_in_it_are_two(tmp_path: Path) -> None:
    """The layers are merged before the settings are checked: they have to know the rule too."""
    file = written(
        tmp_path, "[ticks]\nfold_case = false\n[heartbeats.feed_delay_s]\nFXcm = 60\n oanda = 9\n"
    )
    env = {
        "BARSTREAM_HEARTBEATS__FEED_DELAY_S__FXCM": "1.5",
        "BARSTREAM_HEARTBEATS__FEED_DELAY_S__oanda": "2",
    }

    delays = load_settings(file, env=env).heartbeats.feed_delay_us
    assert delays == {"FXcm": 60_000_000, "FXCM": 1_500_000, "oanda": 2_000_000}

    folded = load_settings(file, env=env | {"BARSTREAM_TICKS__FOLD_CASE": "true"})
    assert folded.heartbeats.feed_delay_us == {"FXCM": 1_500_000, "OANDA": 2_000_000}


def test_one_broker_in_two_spellings_of_one_layer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one broker in two spellings: FXCM, FXcm"):
        Settings(heartbeats=HeartbeatSettings(feed_delay_s={"FXCM": 1, "FXcm": 2}))
    kept = TickSettings(fold_case=False)
    Settings(ticks=kept, heartbeats=HeartbeatSettings(feed_delay_s={"FXCM": 1, "FXcm": 2}))
    with pytest.raises(ValueError, match="one broker in two spellings"):
        HeartbeatSettings(feed_delay_s={"FXCM": 1, " FXCM": 2})


def test_empty_text_means_none_where_none_is_allowed(tmp_path: Path) -> None:
    """TOML has no null, and compose files pass variables on that nobody set."""
    file = written(tmp_path, "[ticks]\nsize = ''\n")

    settings = load_settings(file, env={"BARSTREAM_APP_ID": "", "BARSTREAM_TICKS__BID": ""})

    assert settings.ticks.size is None
    assert settings.ticks.bid is None
    assert settings.app_id == "barstream"


def test_relative_paths_in_the_file_are_relative_to_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "mine.avsc").write_text("{}")
    file = written(tmp_path / "conf", "data_dir = 'd'\n[ticks]\nschema_file = 'mine.avsc'\n")
    monkeypatch.chdir(tmp_path)

    settings = load_settings(file, env={"BARSTREAM_DATA_DIR": "from-here"})

    assert settings.ticks.schema_file == tmp_path / "conf" / "mine.avsc"
    assert settings.data_dir == Path("from-here")
    assert load_settings(file, env={}).data_dir == tmp_path / "conf" / "d"


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().web.port = 1  # type: ignore[misc]


def test_variables_of_other_programs_and_of_our_tests_are_left_alone(
    empty_directory: Path,
) -> None:
    env = {"PATH": "/bin", "BARSTREAM_REQUIRE_KAFKA": "1", "BARSTREAM_TEST_BOOTSTRAP": "k:1"}

    assert load_settings(env=env) == Settings()


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    broken = written(tmp_path, "app_id = \n")

    with pytest.raises(ConfigError, match=r"absent\.toml"):
        load_settings(tmp_path / "absent.toml", env={})
    with pytest.raises(ConfigError, match=r"(?s)barstream\.toml.*line 1"):
        load_settings(broken, env={})
