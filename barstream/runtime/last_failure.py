"""Why a worker ended last, where nobody had told it to: what the next life shows to scrapes.

A worker that stops at each start lives for seconds.  A scrape every fifteen misses most of what it
counted, above all what was counted last.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from barstream.store.directory import write_whole

NAME: Final = "barstream-last-failure.json"


@dataclass(frozen=True, slots=True)
class LastFailure:
    """The end of a worker by an error, in a file of its data directory.

    Attributes:
        reason: name of the error's class.
        time_s: when, in seconds since the epoch.
    """

    reason: str
    time_s: float

    @classmethod
    def read(cls, directory: Path) -> Self | None:
        """The one since the last orderly stop; None: there was none that is known."""
        try:
            found = json.loads((directory / NAME).read_text(encoding="utf-8"))
            return cls(reason=str(found["reason"]), time_s=float(found["time_s"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None


def note_end(directory: Path, failure: BaseException | None) -> None:
    """Keep why this worker ends; an orderly stop (None) forgets what was kept before.

    What cannot be written is let go: the worker ends, and has said why.
    """
    path = directory / NAME
    with suppress(OSError):
        if failure is None:
            path.unlink(missing_ok=True)
            return
        kept = LastFailure(type(failure).__name__, time.time())
        write_whole(path, json.dumps(asdict(kept)))
