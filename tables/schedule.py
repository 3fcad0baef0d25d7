"""The market schedule, `market_schedule`: a table that a reader of its own keeps on every worker.

Every worker needs all of it, whatever partitions it holds; see
`barstream.runtime.schedule` for the reader.
"""

from __future__ import annotations

from barstream.codecs.topics.schedule_rows import ScheduleRows
from barstream.codecs.topics.session_schemas import SessionSchemas


def declare(schemas: SessionSchemas) -> ScheduleRows:
    """An empty table; ``schemas`` know what its rows are written by."""
    return ScheduleRows(schemas)
