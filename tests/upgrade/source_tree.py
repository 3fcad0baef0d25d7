"""The source of a commit, for workers that run it beside this one."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

from tests.pipeline import ROOT


def source_tree(commit: str, directory: Path) -> Path:
    """What a worker of ``commit`` runs, put into ``directory``."""
    packed = subprocess.run(
        ["git", "archive", commit, "barstream", "agents", "tables"],
        cwd=ROOT, capture_output=True, check=True,
    ).stdout  # fmt: skip
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        tar.extractall(directory, filter="data")
    return directory
