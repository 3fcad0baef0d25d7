from __future__ import annotations

import subprocess
import sys

from bench.process_tree import Gauge, tree, usage

_CHILD = "import time; a = bytearray(60 << 20); print('there', flush=True); time.sleep(60)"
_PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {_CHILD!r}])"


def test_memory_is_that_of_the_whole_tree() -> None:
    command = [sys.executable, "-c", _PARENT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"there\n"
            with Gauge([process.pid]) as gauge:
                pids = tree(process.pid)
            assert len(pids) == 2
            assert gauge.peak > 60 << 20
            assert usage([process.pid]).cpu_s > 0
        finally:
            for pid in reversed(tree(process.pid)):
                subprocess.run(["kill", "-9", str(pid)], check=False)
