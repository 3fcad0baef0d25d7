"""Reading the settings: one place, at start, every problem in one message."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from barstream.config.layers import (
    CONFIG_VARIABLE,
    FoundValue,
    from_environment,
    from_file,
    from_mapping,
)
from barstream.config.mask import shown
from barstream.config.names import (
    SettingPath,
    dotted,
    is_known,
    known_paths,
    nearest,
    owner_of,
    spelled_broker,
    variable,
)
from barstream.config.pipeline import completed, declared
from barstream.config.sections import TickSettings
from barstream.config.settings import Settings
from barstream.errors import ConfigError
from barstream.model.key import FOLDED, NameRule
from barstream.pipeline.load import load_query

DEFAULT_FILE: Final = Path("barstream.toml")


def load_settings(
    path: Path | None = None,
    env: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """The settings in force: defaults, then the pipeline, the file, environment, overrides.

    Args:
        path: the TOML file; by default the one that ``BARSTREAM_CONFIG`` names, or
            ``barstream.toml`` in the current directory if there is one.
        env: the environment; by default that of the process.
        overrides: options of the command line, nested or with dotted names.

    Raises:
        ConfigError: the file or the pipeline cannot be read, a key is unknown or a value not
            usable; the message lists every problem with the place it comes from.
    """
    env = os.environ if env is None else env
    found: list[FoundValue] = []
    file = _file(path, env)
    if file is not None:
        found += from_file(file)
    found += from_environment(env)
    found += from_mapping(overrides or {}, "command line")

    problems = [_unknown(value) for value in found if not is_known(value.path)]
    known = [value for value in found if is_known(value.path)]
    name_rule = _name_rule(known)
    known = [value._replace(path=spelled_broker(value.path, name_rule)) for value in known]
    problems += _twice(known)
    sources = {dotted(value.path): value.source for value in known}
    values = _nested(known)
    try:
        settings = Settings.with_sources(values, sources)
    except ValidationError as error:
        problems += [_unusable(detail, sources) for detail in error.errors()]
    _refuse(problems)
    if settings.pipeline is None:
        return settings
    directory = file.parent if file and sources["pipeline"] == str(file) else Path.cwd()
    query = load_query(settings.pipeline, directory.absolute())
    try:
        return completed(settings, query, f"pipeline {settings.pipeline}")
    except ValidationError as error:
        sources = dict.fromkeys(declared(query), f"pipeline {settings.pipeline}") | sources
        _refuse([_unusable(detail, sources) for detail in error.errors()])
        raise


def _name_rule(values: Iterable[FoundValue]) -> NameRule:
    """How brokers are spelled, so that a later layer overrides an earlier one."""
    raw = [value.raw for value in values if value.path == ("ticks", "fold_case")]
    try:
        # what is no truth value is refused with the other problems
        return TickSettings(fold_case=raw[-1]).name_rule if raw else FOLDED
    except ValidationError:
        return FOLDED


def _refuse(problems: list[str]) -> None:
    if problems:
        lines = "\n  ".join(problems)
        raise ConfigError(f"the settings cannot be used:\n  {lines}")


def _file(path: Path | None, env: Mapping[str, str]) -> Path | None:
    if path is not None:
        return path
    if env.get(CONFIG_VARIABLE):
        return Path(env[CONFIG_VARIABLE])
    return DEFAULT_FILE if DEFAULT_FILE.is_file() else None


def _nested(values: Iterable[FoundValue]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for value in values:
        table = nested
        for name in value.path[:-1]:
            inner = table.get(name)
            if not isinstance(inner, dict):
                inner = table[name] = {}
            table = inner
        table[value.path[-1]] = value.raw
    return nested


def _unknown(value: FoundValue) -> str:
    if value.source.startswith("environment "):
        name = value.source.removeprefix("environment ")
        return f"unknown variable {name}: {nearest(name, map(variable, known_paths()))}"
    name = dotted(value.path)
    return f"unknown key {name} in {value.source}: {nearest(name, map(dotted, known_paths()))}"


def _twice(values: Iterable[FoundValue]) -> list[str]:
    """A setting given by two variables (the short form and the long one) has no one value."""
    seen: dict[SettingPath, str] = {}
    problems = []
    for path, _, source in values:
        if not source.startswith("environment "):
            continue
        if path in seen:
            problems.append(f"{dotted(path)} is set twice, by {seen[path]} and {source}")
        seen[path] = source
    return problems


def _unusable(detail: ErrorDetails, sources: Mapping[str, str]) -> str:
    path = tuple(str(part) for part in detail["loc"])
    name = dotted(path)
    within = {source for key, source in sources.items() if f"{key}.".startswith(f"{name}.")}
    where = " and ".join(sorted(within))
    reason = detail["msg"].removeprefix("Value error, ").replace("Input should", "must")
    value = ""
    if path in known_paths() and not _is_secret(path):
        value = f" = {shown(detail['input'])}"
    return f"{name}{value}, from {where}: {reason}" if where else f"{name}{value}: {reason}"


def _is_secret(path: SettingPath) -> bool:
    return "SecretStr" in str(owner_of(path).model_fields[path[-1]].annotation)
