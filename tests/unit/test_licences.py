"""Everything barstream needs at run time may be used, and its licence is named here.

The embedded broker's too, though no worker needs it.

The table is the review: a dependency that is new, or whose licence changes, fails until somebody
has looked at it.  barstream itself holds none of them; what it ships is in NOTICE.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).parents[2]

#: They ask for their notice to be kept and for nothing else.
PERMISSIVE: Final = frozenset(
    {"0BSD", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "MIT", "PSF-2.0"}
    | {"Zlib"}
)
#: What metadata from before SPDX call them.
OLDER_WORDS: Final = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "MIT License": "MIT",
    "Python Software Foundation License": "PSF-2.0",
}
LICENCES: Final = {
    "Apache-2.0": "aiohttp-cors aiokafka aiosignal async-timeout exchange-calendars frozenlist "
    "intervaltree multidict propcache pyarrow sortedcontainers tzdata yarl",
    "Apache-2.0 AND BSD-2-Clause": "prometheus-client",
    "Apache-2.0 AND MIT": "aiohttp",
    "Apache-2.0 OR BSD-2-Clause": "packaging",
    "BSD": "faust-streaming mode-streaming pandas",
    "BSD-2-Clause": "pygments",
    "BSD-3-Clause": "click idna msgspec python-dateutil toolz",
    "BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0": "numpy",
    "MIT": "annotated-types attrs colorlog cramjam croniter fastavro korean-lunar-calendar "
    "markdown-it-py mdurl mypy-extensions noida-db polars polars-runtime-32 pydantic pydantic-core "
    "pyluach pytz rich rocksdict six terminaltables typing-inspection",
    "PSF-2.0": "aiohappyeyeballs typing-extensions",
}
#: Looked at by hand: what the metadata say, and why the distribution is here all the same.
WITH_A_REASON: Final = {
    "orjson": (
        "MPL-2.0 AND (Apache-2.0 OR MIT)",
        "MPL-2.0 binds who passes on changed files of orjson; it is used as it is published",
    ),
    "pyruhvro": ("", "the metadata are silent, but the wheel holds the text of MIT"),
    "venusian": (
        "Repoze Public License",
        "BSD with a clause that changed files say so; a dependency of faust-streaming",
    ),
}
#: Permissive by their metadata, without the text of the licence; the newest releases as well.
WITHOUT_TEXT: Final = frozenset({"noida-db", "pyluach"})


def required(
    name: str, extras: frozenset[str] = frozenset()
) -> Iterator[tuple[str, frozenset[str]]]:
    """Names, with their extras, that a distribution requires on this machine."""
    for line in distribution(name).requires or ():
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": e}) for e in extras | {""}):
            yield canonicalize_name(requirement.name), frozenset(requirement.extras)


def closure() -> set[str]:
    """Everything that is installed with ``barstream[embedded]``."""
    found: set[tuple[str, frozenset[str]]] = set()
    left = [*required("barstream", frozenset({"embedded"}))]
    while left:
        item = left.pop()
        if item not in found:
            found.add(item)
            left += required(*item)
    return {name for name, _ in found}


def stated(metadata: dict[str, list[str]]) -> str:
    """The licence that metadata name; empty: none.

    ``License`` comes last: many have put the whole text there.
    """
    if expression := metadata.get("License-Expression"):
        return expression[0]
    words = [
        line.rpartition(" :: ")[2]
        for line in metadata.get("Classifier", [])
        if line.startswith("License ::") and line != "License :: OSI Approved"
    ] or [line for line in metadata.get("License", []) if line.strip()]
    return " AND ".join(sorted({OLDER_WORDS.get(word, word) for word in words}))


def fields(found: Distribution) -> dict[str, list[str]]:
    names = ("License-Expression", "License", "Classifier")
    return {name: found.metadata.get_all(name) or [] for name in names}


def reviewed() -> dict[str, str]:
    by_name = {name: licence for licence, names in LICENCES.items() for name in names.split()}
    return by_name | {name: licence for name, (licence, _) in WITH_A_REASON.items()}


@pytest.mark.parametrize("name", sorted(closure()))
def test_a_dependency_has_the_licence_that_was_looked_at(name: str) -> None:
    """To add one: a name in LICENCES, or in WITH_A_REASON with the reason."""
    licence = stated(fields(distribution(name)))

    assert name in reviewed(), f"{name} is new; its metadata say {licence or 'nothing'!r}"
    assert licence == reviewed()[name]


def test_a_licence_that_asks_for_more_than_its_notice_has_a_reason() -> None:
    for licence in LICENCES:
        assert set(re.split(r" AND | OR ", licence)) <= PERMISSIVE, licence
    assert all(reason for _, reason in WITH_A_REASON.values())
    assert not WITH_A_REASON.keys() & {n for names in LICENCES.values() for n in names.split()}


def test_no_licence_is_named_of_what_is_not_needed_any_more() -> None:
    lock = (ROOT / "requirements-dev.lock").read_text()
    locked = set(re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE))

    assert not reviewed().keys() - locked


def test_every_wheel_holds_the_text_of_its_licence_but_two() -> None:
    """Who passes a dependency on must pass on its text; those two are known."""
    without = {
        name
        for name in closure()
        if not any(
            re.search(r"dist-info/.*(licen[cs]e|copying)", str(file), re.IGNORECASE)
            for file in distribution(name).files or ()
        )
    }
    assert without == WITHOUT_TEXT


@pytest.mark.parametrize(
    ("metadata", "licence"),
    [
        ({}, ""),
        ({"License": ["  "], "Classifier": ["Typing :: Typed"]}, ""),
        ({"Classifier": ["License :: OSI Approved"], "License": ["MIT"]}, "MIT"),
        ({"Classifier": ["License :: OSI Approved :: MIT License"], "License": ["Per..."]}, "MIT"),
        ({"License-Expression": ["GPL-3.0-only"], "License": ["MIT"]}, "GPL-3.0-only"),
    ],
)
def test_what_metadata_state(metadata: dict[str, list[str]], licence: str) -> None:
    assert stated(metadata) == licence


def test_barstream_states_its_own() -> None:
    own = distribution("barstream").metadata

    assert own["License-Expression"] == "Apache-2.0"
    assert own["Author"] == "the barstream authors"
    assert not [c for c in own.get_all("Classifier") or [] if c.startswith("License")]
    assert (ROOT / "LICENSE").read_text().lstrip().startswith("Apache License")
