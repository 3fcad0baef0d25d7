"""What the local tables are copies of: which topics of which cluster, in which format.

A file beside the tables says it, written before the first of them is opened.  Tables of something
else are never read: they are moved aside, or the worker refuses to go on.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, Self

from barstream.errors import StateUnusable
from barstream.metrics import running_version
from barstream.store.quarantine import aside_of

log = logging.getLogger(__name__)

#: Raised with every change of keys, values or notes in the local tables.
FORMAT: Final = 1
NAME: Final = "barstream-state.json"


@dataclass(frozen=True, slots=True)
class StateIdentity:
    """What local tables are copies of; None and missing: brokers that do not tell.

    Attributes:
        topics: id by name of each changelog.
    """

    app_id: str
    cluster: str | None = None
    topics: Mapping[str, str] = field(default_factory=dict)
    format: int = FORMAT
    version: str = field(default_factory=running_version)

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """What the file says; None when it says nothing that can be understood."""
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                app_id=str(found["app_id"]),
                cluster=None if found["cluster"] is None else str(found["cluster"]),
                topics={str(name): str(each) for name, each in found["topics"].items()},
                format=int(found["format"]),
                version=str(found["version"]),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def write(self, path: Path) -> None:
        """Replace the file, whole or not at all."""
        write_whole(path, json.dumps(asdict(self), indent=2))

    def with_known(self, before: Self) -> Self:
        """This, and the ids of topics that were known before and are not asked for now."""
        return type(self)(
            self.app_id, self.cluster or before.cluster, {**before.topics, **self.topics}
        )


def write_whole(path: Path, text: str) -> None:
    """Replace a file, whole or not at all, also when the power fails."""
    new = path.with_name(path.name + ".new")
    with new.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def reason_to_set_aside(found: StateIdentity | None, now: StateIdentity) -> str | None:
    """Why tables cannot be used that are certainly not lost by it; None: they can."""
    if found is None:
        return "they do not say what they are copies of (an earlier version)"
    if found.format != now.format:
        return f"they are in format {found.format} of barstream {found.version}, not {now.format}"
    if found.app_id != now.app_id:
        return f"they are of the application {found.app_id}, not {now.app_id}"
    if None not in (found.cluster, now.cluster) and found.cluster != now.cluster:
        return f"they are of the cluster {found.cluster}, not {now.cluster}"
    return None


def check_topics(found: StateIdentity, now: StateIdentity, directory: Path) -> None:
    """Refuse topics that were made again: what they held is gone from Kafka.

    Raises:
        StateUnusable: one was.
    """
    for name, identity in now.topics.items():
        known = found.topics.get(name, identity)
        if known != identity:
            raise StateUnusable(
                f"{name} must be the topic {known} that the local tables are copies of, but it is "
                f"{identity}: it was deleted and made again, and what it held is not in Kafka any "
                f"more. The only copy may be in {directory}: keep it. To go on with what Kafka "
                f"has: stop all workers, mv {directory} {directory}.old at each of them, and start "
                "them again; `barstream verify` then says which bars are missing, and `barstream "
                "replay` makes them from the ticks that are kept"
            )


def admit(directory: Path, now: StateIdentity, *, is_open: bool) -> None:
    """Make sure that the tables in ``directory`` are copies of what there is now.

    Args:
        directory: of the tables.
        now: what the brokers say.
        is_open: whether tables are open already, which then cannot be moved.

    Raises:
        StateUnusable: they are not, and that must be looked at.
    """
    path = directory / NAME
    found = StateIdentity.read(path)
    why = reason_to_set_aside(found, now)
    if why is not None and any(directory.glob("*.db")):
        if is_open:
            raise StateUnusable(
                f"the local tables in {directory} must stay what they were while the worker runs, "
                f"but {why}: the worker stops; start it again"
            )
        aside = aside_of(directory, "unusable")
        directory.rename(aside)
        log.warning(
            "local tables cannot be used and were moved aside, all is restored from Kafka; delete "
            "them when they are not wanted: path=%s why=%s",
            aside, why,
        )  # fmt: skip
    elif found is not None and why is None:
        check_topics(found, now, directory)
        now = now.with_known(found)
    directory.mkdir(parents=True, exist_ok=True)
    now.write(path)
