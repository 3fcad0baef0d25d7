"""How many examples the properties are tried on: all, or as few as `make fast` has time for."""

from __future__ import annotations

import os
from typing import Final

_SHARE: Final = float(os.environ.get("BARSTREAM_TEST_EXAMPLES", "1"))
_LEAST: Final = 5


def examples(count: int) -> int:
    """``count`` times the share in ``BARSTREAM_TEST_EXAMPLES``, which deep runs set above 1."""
    return max(min(_LEAST, count), round(count * _SHARE))
