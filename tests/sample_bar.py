"""A bar to begin with: a test says what matters in it, and a field that is added is given here."""

from __future__ import annotations

from typing import Final

from barstream.model.bar import Bar

#: Of two ticks at offsets 4 and 5, in the first minute there is; closed by the second.
SAMPLE: Final = Bar(
    broker="B",
    symbol="X",
    bucket_start_us=0,
    trading_date=0,
    session=0,
    open=1.0,
    high=2.0,
    low=0.5,
    close=1.5,
    volume=3.0,
    turnover=3.75,
    tick_count=2,
    open_time_us=0,
    close_time_us=1,
    synthetic=False,
    revision=0,
    first_offset=4,
    last_offset=5,
    close_offset=6,
)
