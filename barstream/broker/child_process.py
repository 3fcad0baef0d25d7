"""Become another program that ends when its parent does (Linux).

Run as a script: ``launch.py PARENT_PID PROGRAM ARGUMENT...``.  A process of its own asks for the
signal, because code between fork and exec of a process with threads can hang.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    """Arrange for SIGTERM at the parent's death and become ``command``.

    SIGTERM, not SIGKILL: the broker writes its data to disk when it is told to stop.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        # It died before the call above: no signal would come any more.
        sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 - the program that was asked for


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
