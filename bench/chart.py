"""Ratios as bars, in SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from bench.comparison import Figure
from bench.results import Spread

_LEFT, _WIDTH, _RIGHT = 220, 420, 150
_BAR, _GAP, _HEAD = 16, 12, 34
#: Apart also for who tells few colours apart (Okabe and Ito).
_COLOURS: Final = (
    "#0072b2", "#56b4e9", "#d55e00", "#e69f00", "#009e73", "#cc79a7", "#999999", "#f0e442",
)  # fmt: skip
_STYLE: Final = (
    "text{font:12px system-ui,sans-serif;fill:#222}.h{font-weight:600;font-size:14px}"
    ".s{fill:#555}.one{stroke:#222;stroke-dasharray:3 3}.w{stroke:#222}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}.s{fill:#aaa}.one,.w{stroke:#ddd}}"
)

Panel = tuple[Figure, Mapping[str, Mapping[str, Spread]]]


def chart(panels: Sequence[Panel], titles: Mapping[str, str]) -> str:
    """A panel for each figure that has ratios; in it the contestants by shape.

    Args:
        panels: a figure, and by shape and contestant the ratio to the baseline.
        titles: of the contestants, in the order of the table.

    Returns:
        A document; the thin line of a bar goes from the least to the most of its rounds, the
        dashed line is the baseline.
    """
    parts: list[str] = []
    top = 8
    for figure, by_shape in panels:
        if by_shape:
            text, top = _panel(figure, by_shape, titles, top)
            parts.append(text)
    width = _LEFT + _WIDTH + _RIGHT
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" width="{width}" '
        f'height="{top}"><style>{_STYLE}</style>{"".join(parts)}</svg>\n'
    )


def _panel(
    figure: Figure,
    by_shape: Mapping[str, Mapping[str, Spread]],
    titles: Mapping[str, str],
    top: int,
) -> tuple[str, int]:
    longest = max(each.most for by in by_shape.values() for each in by.values())
    scale = _WIDTH / max(longest, 1.0)
    better = "longer is better" if figure.is_more_better else "shorter is better"
    at = top + 16
    parts = [_text(8, at, f"{figure.title}, ratio to Kafka Streams ({better})", "h")]
    at += 10
    begin = at
    for shape, by in by_shape.items():
        parts.append(_text(8, at + _BAR - 3, shape, "s"))
        for number, name in enumerate(titles):
            if name not in by:
                continue
            spread, middle = by[name], at + _BAR / 2
            parts += [
                (
                    f'<text x="{_LEFT - 8}" y="{at + _BAR - 3}" text-anchor="end">'
                    f"{escape(titles[name])}</text>"
                ),
                (
                    f'<rect x="{_LEFT}" y="{at + 1}" height="{_BAR - 3}" '
                    f'width="{max(1.0, spread.median * scale):.1f}" '
                    f'fill="{_COLOURS[number % len(_COLOURS)]}"/>'
                ),
                (
                    f'<line class="w" x1="{_LEFT + spread.least * scale:.1f}" y1="{middle}" '
                    f'x2="{_LEFT + spread.most * scale:.1f}" y2="{middle}"/>'
                ),
                _text(_LEFT + spread.most * scale + 6, at + _BAR - 3, f"{spread.median:.2f}", ""),
            ]
            at += _BAR
        at += _GAP
    one = _LEFT + scale
    parts.append(f'<line class="one" x1="{one:.1f}" y1="{begin}" x2="{one:.1f}" y2="{at - _GAP}"/>')
    return "".join(parts), at + _HEAD - 16


def _text(x: float, y: float, said: str, kind: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(said)}</text>'
