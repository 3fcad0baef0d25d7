"""The names of the settings: dotted (``web.port``), in the environment, and nearly right ones."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import Final, get_origin

from barstream.config.fields import Section, timeframe_of
from barstream.config.settings import Settings
from barstream.model.key import NameRule, trimmed

SettingPath = tuple[str, ...]
"""``("bootstrap",)``, ``("web", "port")``, in a mapping ``("topics", "overrides", "ticks")``."""

PREFIX: Final = "BARSTREAM_"
#: Promised to users although it has one underscore where sections have two.
SHORT_FORMS: Final = {"BARSTREAM_WEB_PORT": ("web", "port")}
#: One spelling for the entries of mappings, so that a later layer overrides an earlier one.
_ENTRY_SPELLING: Final[dict[SettingPath, Callable[[str], str]]] = {
    # in one case as well where that is how ticks are spelled: see `spelled_broker`
    ("heartbeats", "feed_delay_s"): trimmed,
    ("topics", "overrides"): str.lower,
    ("topics", "timeframe_retention_days"): timeframe_of,
}
_CLOSE_ENOUGH: Final = 0.7
_AS_CLOSE: Final = 0.03


def section_of(name: str) -> type[Section] | None:
    """The class of a section; None for a setting outside sections and for an unknown name."""
    field = Settings.model_fields.get(name)
    annotation = None if field is None else field.annotation
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return None


def known_paths() -> list[SettingPath]:
    """Every setting, in the order it is declared."""
    paths: list[SettingPath] = []
    for name in Settings.model_fields:
        section = section_of(name)
        paths += [(name,)] if section is None else [(name, key) for key in section.model_fields]
    return paths


def owner_of(path: SettingPath) -> type[Section]:
    """The class that declares the setting at a known path."""
    return Settings if len(path) == 1 else section_of(path[0]) or Settings


def is_mapping(path: SettingPath) -> bool:
    """Whether the setting at a known path holds entries of its own."""
    return get_origin(owner_of(path).model_fields[path[-1]].annotation) is dict


def is_known(path: SettingPath) -> bool:
    """Whether ``path`` is a setting or an entry of one that is a mapping."""
    known = known_paths()
    return path in known or (path[:2] in known and len(path) == 3 and is_mapping(path[:2]))


def entry_path(path: SettingPath, entry: str) -> SettingPath:
    """Path of an entry of the mapping at ``path``, in its one spelling.

    Raises:
        ValueError: the entry cannot be a name of its kind.
    """
    return (*path, _ENTRY_SPELLING[path](entry))


def spelled_broker(path: SettingPath, name_rule: NameRule) -> SettingPath:
    """``path``; where its entry is a broker, in the spelling of the ticks."""
    if len(path) == 3 and path[:2] == ("heartbeats", "feed_delay_s"):
        return (*path[:2], name_rule.normalise(path[2]))
    return path


def variable(path: SettingPath) -> str:
    """The environment variable that overrides the setting at ``path``."""
    return PREFIX + "__".join(path).upper()


def dotted(path: SettingPath) -> str:
    """``web.port``."""
    return ".".join(path)


def nearest(found: str, possible: Iterable[str]) -> str:
    """A sentence with the names that ``found`` may have been meant to be."""
    likeness = {name: difflib.SequenceMatcher(None, found, name).ratio() for name in possible}
    best = max(likeness.values())
    if best < _CLOSE_ENOUGH:
        return "`barstream config` lists them all"
    close = sorted(likeness, key=lambda name: -likeness[name])
    return f"did you mean {' or '.join(n for n in close if likeness[n] > best - _AS_CLOSE)}?"
