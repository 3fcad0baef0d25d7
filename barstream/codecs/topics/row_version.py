"""The version of the layout of rows in topic ``{app_id}-series``.

Workers of several releases may read one changelog: during an upgrade, and after one that is taken
back.  A row says by which layout it was written, and who does not know it reads nothing into it.
"""

from __future__ import annotations

from typing import Final

from barstream.errors import BarstreamError

#: Raised with every change of a row that workers of before would misread.
VERSION: Final = 3
#: From it on open bars have a turnover, and so has every bar that no earlier version had a part in.
WITH_TURNOVER: Final = 3
#: No row without a version begins with it: as Avro has it, a length or an offset of -1.
_MARK: Final = b"\x01"
ROW_VERSION: Final = _MARK + bytes([VERSION])
#: Of rows that do not say.
FIRST: Final = 1


class RowTooNew(BarstreamError):
    """A row was written by a later release, in a layout that this one does not know.

    Nothing was read into it and nothing was written.  Upgrade every worker and tool to that
    release.

    Args:
        version: of the row.
        where: which row it is.
    """

    def __init__(self, version: int, where: str = "a row of the series table") -> None:
        self.version = version
        super().__init__(
            f"what workers remember must be of version {VERSION} or older for this release, found "
            f"version {version} in {where}: a later release of barstream has written it. Upgrade "
            "every worker and tool to that release; to go back to this one, start anew under "
            "another BARSTREAM_APP_ID, BARSTREAM_DATA_DIR and BARSTREAM_TOPICS__BASE"
        )


def version_of(value: bytes) -> int:
    """Of a row's value.

    Raises:
        RowTooNew: it is later than `VERSION`.
        ValueError: there is no such version.
    """
    if value[:1] != _MARK:
        return FIRST
    version = value[1] if len(value) > 1 else 0
    if version > VERSION:
        raise RowTooNew(version)
    if version <= FIRST:
        raise ValueError(f"no row is of version {version}")
    return version


def is_first(value: bytes) -> bool:
    """Whether a row was written before rows had versions.

    Raises:
        RowTooNew, ValueError: see `version_of`.
    """
    return version_of(value) == FIRST
