"""Where values come from: the file, the environment, the command line; later ones win.

A layer gives `FoundValue` values: a path into the settings, the raw value, and the words for the
place it stands in.  Whether paths exist and values are usable is checked by the loader.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from barstream.config.fields import may_be_none
from barstream.config.names import (
    PREFIX,
    SHORT_FORMS,
    SettingPath,
    entry_path,
    is_mapping,
    known_paths,
    owner_of,
    section_of,
)
from barstream.errors import ConfigError

CONFIG_VARIABLE: Final = "BARSTREAM_CONFIG"
#: No settings: the file itself, and what only the tests of the project read.
_NOT_SETTINGS: Final = (
    CONFIG_VARIABLE,
    "BARSTREAM_KAFKA_CACHE",
    "BARSTREAM_REAL_DATA",
    "BARSTREAM_REQUIRE_KAFKA",
)
_TESTS_PREFIX: Final = "BARSTREAM_TEST_"
_FILES: Final = (
    ("data_dir",),
    ("kafka", "ssl_cafile"),
    ("kafka", "ssl_certfile"),
    ("kafka", "ssl_keyfile"),
    ("ticks", "schema_file"),
)


class FoundValue(NamedTuple):
    """A raw value, the path of its setting, and where it was found."""

    path: SettingPath
    raw: Any
    source: str


def from_file(file: Path) -> Iterator[FoundValue]:
    """The values of a TOML file; relative paths in it are relative to the file.

    Raises:
        ConfigError: the file cannot be read, or is not TOML.
    """
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"the settings file {file} cannot be read ({error.strerror}): give another one with "
            f"--config FILE or {CONFIG_VARIABLE}"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the settings file {file} is not TOML: {error}") from error
    for found in from_mapping(table, str(file)):
        is_relative = found.path in _FILES and isinstance(found.raw, str) and found.raw
        raw = str(file.parent / found.raw) if is_relative else found.raw
        yield found._replace(raw=raw)


def from_mapping(table: Mapping[str, Any], source: str) -> Iterator[FoundValue]:
    """The values of nested tables; a dotted key (``web.port``) is a path as well."""
    for name, value in table.items():
        path = tuple(name.split("."))
        if len(path) == 1 and section_of(name) is not None and isinstance(value, Mapping):
            for key, inner in value.items():
                yield from _entries((name, key), inner, source)
        else:
            yield from _entries(path, value, source)


def from_environment(env: Mapping[str, str]) -> Iterator[FoundValue]:
    """The values of ``BARSTREAM_*`` variables; an empty one is as good as not set.

    Where a setting may be none, an empty variable says none.
    """
    for name in sorted(env):
        if not name.startswith(PREFIX) or name in _NOT_SETTINGS or name.startswith(_TESTS_PREFIX):
            continue
        path = SHORT_FORMS.get(name) or _path_of(name)
        known = path in known_paths()
        if env[name] == "" and known and not may_be_none(owner_of(path), path[-1]):
            continue
        raw: Any = env[name]
        if known and is_mapping(path):
            raw = _json_object(raw)
        yield from _entries(path, raw, f"environment {name}")


def _path_of(name: str) -> SettingPath:
    *sections, last = name.removeprefix(PREFIX).split("__", 2)
    path = tuple(part.lower() for part in sections)
    # a broker may be spelled in any case, and another one is then another broker
    return (*path, last if path == ("heartbeats", "feed_delay_s") else last.lower())


def _entries(path: SettingPath, value: Any, source: str) -> Iterator[FoundValue]:
    mapping = path[:2]
    if mapping not in known_paths() or not is_mapping(mapping):
        yield FoundValue(path, value, source)
    elif len(path) > len(mapping):
        yield FoundValue(_spelled(mapping, ".".join(path[2:]), source), value, source)
    elif isinstance(value, Mapping):
        for entry, inner in value.items():
            yield FoundValue(_spelled(mapping, entry, source), inner, source)
    else:
        yield FoundValue(path, value, source)


def _spelled(mapping: SettingPath, entry: str, source: str) -> SettingPath:
    try:
        return entry_path(mapping, entry)
    except ValueError as error:
        raise ConfigError(f"{'.'.join(mapping)} in {source}: {error}") from error


def _json_object(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text  # refused by the loader, with the other problems
