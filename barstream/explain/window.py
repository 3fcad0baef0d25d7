"""Reading in windows: an end can be put to it, and how far it has come can be shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from barstream.log.snapshot import Span

#: Offsets read at a time: a second or less of records, far more than a connection costs.
WINDOW: Final = 500_000

Progress = Callable[[str, int, int], None]
"""Called with what is read, offsets done and offsets there are at most."""


def forward(span: Span, what: str, progress: Progress, step: int = WINDOW) -> Iterator[Span]:
    """``span`` in windows of ``step`` offsets from its begin on."""
    begin = span.begin
    while begin < span.end:
        end = min(begin + step, span.end)
        yield Span(begin, end)
        progress(what, end - span.begin, span.end - span.begin)
        begin = end


def backward(span: Span, what: str, progress: Progress) -> Iterator[Span]:
    """``span`` in windows from its end back."""
    end = span.end
    while end > span.begin:
        begin = max(end - WINDOW, span.begin)
        yield Span(begin, end)
        progress(what, span.end - begin, span.end - span.begin)
        end = begin
