"""`make install` says what it does, and what went wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tools.environment import LOCK, ROOT, PipProgress

TWO_AND_ONE_OF_ANOTHER_SYSTEM = """\
big==1.0 \\
    --hash=sha256:00
    # via barstream (pyproject.toml)
elsewhere==2.0 ; sys_platform == 'win32' \\
    --hash=sha256:00
small==3.0 \\
    --hash=sha256:00
"""


def test_progress_counts_what_is_collected_and_names_what_is_downloaded(tmp_path: Path) -> None:
    progress = PipProgress(TWO_AND_ONE_OF_ANOTHER_SYSTEM, tmp_path)
    shown = [str(progress)]
    for line in (
        "Ignoring elsewhere: markers 'sys_platform == \"win32\"' don't match your environment\n",
        "Collecting big==1.0 (from -r requirements-dev.lock (line 1))\n",
        "  Downloading https://index.example/a1/big-1.0-cp311-cp311-linux.whl (55.0 MB)\n",
        "Collecting small==3.0 (from -r requirements-dev.lock (line 6))\n",
        "  Using cached small-3.0-py3-none-any.whl (1 kB)\n",
    ):
        progress.read(line)
        shown.append(str(progress))
    assert shown == [
        "pip reads which packages are needed",
        "pip reads which packages are needed",
        "collected 1 of 2 packages",
        "collected 1 of 2 packages, downloading big (55.0 MB)",
        "collected 2 of 2 packages",
        "collected 2 of 2 packages",
    ]


def test_progress_counts_what_is_installed_beyond_what_was_there(tmp_path: Path) -> None:
    """Pip names all packages at once and then is silent until they are installed."""
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    (packages / "pip-26.0.dist-info").mkdir(parents=True)
    progress = PipProgress(TWO_AND_ONE_OF_ANOTHER_SYSTEM, tmp_path)
    progress.read("Installing collected packages: big, small\n")
    assert str(progress) == "installed 0 of 3 packages"
    (packages / "big-1.0.dist-info").mkdir()
    assert str(progress) == "installed 1 of 3 packages"


@pytest.mark.slow
def test_a_package_with_another_hash_is_refused_in_the_words_of_pip(tmp_path: Path) -> None:
    project, wheels = tmp_path / "project", tmp_path / "wheels"
    (project / "tools").mkdir(parents=True)
    wheels.mkdir()
    shutil.copy(ROOT / "tools" / "environment.py", project / "tools")
    wrong = "0" * 64
    (project / LOCK).write_text(f"big==1.0 \\\n    --hash=sha256:{wrong}\n")
    with zipfile.ZipFile(wheels / "big-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("big-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: big\n")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PIP_")}

    done = subprocess.run(
        [sys.executable, "tools/environment.py", ".venv"],
        cwd=project, env=kept | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert "Making the environment in .venv with Python 3." in done.stdout
    assert "pip reads which packages are needed" in done.stdout
    assert f"Expected sha256 {wrong}" in done.stderr
    assert done.stderr.endswith(
        "The environment must be made from requirements-dev.lock, and that failed: the reason "
        "stands above.\n"
    )
