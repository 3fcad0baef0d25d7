"""The limit that tests of memory rest on is one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.memory_cgroup import memory_cgroup


def test_who_needs_more_is_killed() -> None:
    with memory_cgroup(64) as cgroup:
        if not cgroup.prefix:
            pytest.skip("the machine has no memory controller for us")
        for mib, code in ((8, 0), (200, -9)):
            program = f"held = b'x' * ({mib} << 20)"
            done = subprocess.run([*cgroup.prefix, sys.executable, "-c", program], check=False)
            assert done.returncode == code, mib
        assert cgroup.kills == 1
