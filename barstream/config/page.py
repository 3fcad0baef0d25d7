"""``docs/configuration.md`` from the settings themselves: ``python -m barstream.config.page``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import reduce
from typing import Any, Final

from barstream.config.mask import shown
from barstream.config.names import SHORT_FORMS, known_paths, owner_of, section_of, variable
from barstream.config.settings import Settings

_INTRODUCTION: Final = """\
# Configuration

This page is written by `python -m barstream.config.page`.

Values come, later ones winning, from the defaults, from a [pipeline](pipeline.md) of your own if
`pipeline` names one, from one TOML file (`--config FILE`, else the file that `BARSTREAM_CONFIG`
names, else `barstream.toml` in the current directory), from the environment, and from options of a
command. `barstream config` shows what is in force and where each value comes from; secrets are
masked.

- Unknown keys, unknown `BARSTREAM_*` variables and values out of range are refused at start.
- Empty text means *none* where a setting may be none: TOML has no null.
- Relative paths in the file are relative to the file.
- An entry of a mapping has a variable of its own
  (`BARSTREAM_HEARTBEATS__FEED_DELAY_S__OANDA=900`), or all entries come as one JSON object.
- A list is one text in a variable, its entries separated by commas
  (`BARSTREAM_BARS__TIMEFRAMES=5m,1h,1d`); `1m` alone means no other timeframe.
"""


def page() -> str:
    """The whole page as Markdown."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    defaults = Settings()
    yield _INTRODUCTION.rstrip()
    heading = ""
    for path in known_paths():
        title = f"[{path[0]}]" if len(path) > 1 else "Outside sections"
        if title != heading:
            heading = title
            section = section_of(path[0])
            yield from ("", f"## {title}", "")
            if section is not None and section.__doc__:
                yield from (section.__doc__.strip(), "")
            yield from ("| setting | default | variable | meaning |", "| --- | --- | --- | --- |")
        value: Any = reduce(getattr, path, defaults)
        meaning = " ".join((owner_of(path).model_fields[path[-1]].description or "").split())
        names = [variable(path), *(name for name, short in SHORT_FORMS.items() if short == path)]
        variables = ", ".join(f"`{name}`" for name in names)
        yield f"| `{path[-1]}` | `{shown(value)}` | {variables} | {meaning} |"


if __name__ == "__main__":
    sys.stdout.write(page())
