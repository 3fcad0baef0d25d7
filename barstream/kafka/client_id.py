"""The name by which brokers know a process of an application."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def client_id(app_id: str) -> str:
    """Of this process: a broker's log, quotas and lists of members then tell workers apart."""
    return f"{app_id}-{socket.gethostname()}-{os.getpid()}"


def is_dead(client: str) -> bool:
    """Whether it is the name of a process of this machine that has ended."""
    name, _, pid = client.rpartition("-")
    return name.endswith(f"-{socket.gethostname()}") and pid.isdecimal() and not _runs(int(pid))


def _runs(pid: int) -> bool:
    """Whether a process exists and is more than a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return True
    return state != "Z"
