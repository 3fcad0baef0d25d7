"""What every command shares: the settings, read once and only by commands that need them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from barstream.config import Settings


@dataclass(frozen=True, slots=True)
class Invocation:
    """The global options of this call."""

    config: Path | None


class Name(click.ParamType):
    """A broker or symbol that can be one, in the case it is given in."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name without the spaces around it; fails the command when it can be none."""
        from barstream.model.key import trimmed

        try:
            return trimmed(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Time(click.ParamType):
    """A time in microseconds, from ISO 8601 text; without an offset it is UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Microseconds since the epoch; fails the command when it is no such text."""
        from barstream.model.time import us_from_iso

        if isinstance(value, int):
            return value
        try:
            return us_from_iso(value)
        except (ValueError, OverflowError):
            self.fail(
                "an ISO 8601 date or time such as 2013-01-01 or 2013-01-01T22:00:00Z is required, "
                f"but found {value!r}",
                param,
                ctx,
            )


def settings(ctx: click.Context, overrides: Mapping[str, Any] | None = None) -> Settings:
    """The settings in force; ``overrides`` are options of the command, ``{"web.port": 7000}``.

    Raises:
        ConfigError: they cannot be used; left alone, it ends the command with exit code 2.
    """
    from barstream.config import load_settings

    invocation = ctx.find_root().obj
    config = invocation.config if isinstance(invocation, Invocation) else None
    return load_settings(config, overrides=overrides)
