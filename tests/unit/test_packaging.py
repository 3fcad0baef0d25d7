"""Three top-level packages in one wheel; two share their names with other distributions.

``tables`` is also the import name of PyTables and ``agents`` of openai-agents: with one of those
installed over ours a worker would import foreign code, so what is imported is proved here.
"""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import zipfile
from importlib.metadata import distribution, packages_distributions
from pathlib import Path
from typing import Final

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("barstream", "tables", "agents")
#: In the metadata of the wheel; the other belongs to what barstream/serve/static/vendor holds.
LEGAL = ("LICENSE", "NOTICE")
VENDORED = "barstream/serve/static/vendor/lightweight-charts.LICENSE"

#: What a worker runs on, what is developed and tested with, what audits it.
LOCKS: Final = ("requirements.lock", "requirements-dev.lock", ".ci/audit.lock")


@pytest.mark.parametrize("name", PACKAGES)
def test_the_package_that_is_imported_is_ours(name: str) -> None:
    package = importlib.import_module(name)

    assert package.__file__ is not None
    assert Path(package.__file__).parent == ROOT / name


@pytest.mark.parametrize("name", PACKAGES)
def test_no_other_distribution_brings_a_package_of_that_name(name: str) -> None:
    assert set(packages_distributions().get(name, ["barstream"])) == {"barstream"}


@pytest.mark.slow
def test_the_wheel_carries_three_packages_their_data_and_the_licences(tmp_path: Path) -> None:
    """What runs from a checkout must run from an installed wheel: schemas and page included."""
    source = tmp_path / "source"
    source.mkdir()
    # built from a copy, because setuptools leaves its build directories beside the sources
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "pyproject.toml", "README.md", *LEGAL, *PACKAGES],
        check=False, cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    if tracked.returncode:
        pytest.skip("not a git checkout, so the files of the project are not known")
    for file in filter(None, tracked.stdout.split("\0")):
        if (ROOT / file).is_file():
            (source / file).parent.mkdir(parents=True, exist_ok=True)
            (source / file).write_bytes((ROOT / file).read_bytes())
    subprocess.run(
        [
            sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
            "--wheel-dir", str(tmp_path), str(source),
        ],
        check=True,
    )  # fmt: skip

    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())

    expected = {
        path.relative_to(source).as_posix()
        for package in PACKAGES
        for path in (source / package).rglob("*")
        if path.is_file()
    }
    assert expected <= names
    assert {name.split("/")[0] for name in names if "dist-info" not in name} == set(PACKAGES)
    legal = {name.partition(".dist-info/licenses/")[2] for name in names} - {""}
    assert legal == {*LEGAL, VENDORED}


def test_what_leans_on_private_names_is_pinned_exactly() -> None:
    """The batch transport breaks silently on an upgrade of these; see docs/decisions/0002."""
    declared = (ROOT / "pyproject.toml").read_text()

    for name in ("faust-streaming", "mode-streaming", "aiokafka"):
        match = re.search(rf'"{name}==([0-9.]+)"', declared)
        assert match is not None
        assert distribution(name).version == match[1]


def locked(name: str) -> dict[str, str]:
    """Text of each entry of a lock, by its package."""
    entries = re.split(r"\n(?=[a-z0-9])", (ROOT / name).read_text())
    return {entry.partition("==")[0]: entry for entry in entries}


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_a_hash_for_everything_and_names_no_registry(name: str) -> None:
    assert all("==" in entry and "--hash=sha256:" in entry for entry in locked(name).values())
    assert "://" not in (ROOT / name).read_text()


def test_what_a_worker_runs_on_is_a_part_of_what_is_tested() -> None:
    """At the same versions, and without what only developers and the embedded broker need."""
    runs, tested = (
        {package: entry.partition(" ")[0] for package, entry in locked(name).items()}
        for name in LOCKS[:2]
    )
    assert runs.items() < tested.items()
    assert {"noida-db", "pytest", "hypothesis", "honcho"} <= tested.keys() - runs.keys()
