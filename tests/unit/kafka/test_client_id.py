"""Which processes are known to be dead by the name they gave their brokers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from barstream.kafka.client_id import client_id, is_dead


def test_a_process_that_runs_or_is_not_of_this_machine_is_not_dead() -> None:
    ours = client_id("app-with-hyphens")
    assert ours == f"app-with-hyphens-{socket.gethostname()}-{os.getpid()}"
    assert not is_dead(ours)
    for other in ("", "faust-0.15.3", "app-elsewhere.example-1", "app-99999999", ours + "x"):
        assert not is_dead(other), other


def test_a_process_that_was_killed_is_dead_also_before_its_parent_has_looked() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = f"app-{socket.gethostname()}-{process.pid}"
    assert not is_dead(name)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert is_dead(name)
    process.communicate()
    assert is_dead(name)
