"""What is found wrong with a topic, how bad it is, and the command that mends it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from barstream.errors import BarstreamError


class Level(Enum):
    """How bad a finding is."""

    OK = "ok"
    NOTE = "note"
    """Different on purpose, or not to be seen; nothing need be done."""
    WARNING = "warning"
    """Works, with a loss the message names."""
    REFUSAL = "refusal"
    """A worker does not start on it."""


@dataclass(frozen=True, slots=True)
class TopicFinding:
    """One sentence about one topic; ``mend`` is a command, empty when there is none."""

    topic: str
    level: Level
    message: str
    mend: str = ""

    def __str__(self) -> str:
        sentence = f"topic {self.topic}: {self.message}"
        return f"{sentence}; mend it with `{self.mend}`" if self.mend else sentence


class TopicsError(BarstreamError):
    """The topics are not as a worker needs them; each finding names the command that mends it.

    ``barstream topics check`` shows all of them again.

    Attributes:
        findings: everything found, refusals and lesser ones.
    """

    exit_code = 1

    def __init__(self, findings: list[TopicFinding]) -> None:
        refusals = [finding for finding in findings if finding.level is Level.REFUSAL]
        super().__init__("\n".join(str(finding) for finding in refusals))
        self.findings = findings


class TopicCreationError(BarstreamError):
    """A broker refused to create a topic, or does not show it; the message says which."""
