"""A worker as another version would be, as far as its group sees it.

``python -m tests.upgrade.other_version older worker`` says nothing of itself, as versions did
before there was something to say; ``newer`` says it is of version 99, with settings and fields that
nobody knows yet.
"""

from __future__ import annotations

import sys
from typing import Final

import orjson

from barstream.cli import main
from barstream.kafka.consumer_group import Declaration

VERSION: Final = "99.0"


def _nothing(_: Declaration, metadata: bytes) -> bytes:
    return metadata


def _more(declared: Declaration, metadata: bytes) -> bytes:
    said = {
        "version": VERSION,
        "settings": {**declared.settings, "bars.of_later": "1"},
        "fields_of_later": [1, {"deep": None}],
    }
    return orjson.dumps({**orjson.loads(metadata), "barstream": said, "of_later": "x"})


if __name__ == "__main__":
    kind = sys.argv.pop(1)
    setattr(Declaration, "added_to", {"older": _nothing, "newer": _more}[kind])  # noqa: B010
    main()
