"""Which records of a batch are no ticks, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from barstream.model.rejection import Reason

#: By weight: a record that fails several checks is refused for the first of these.
_WEIGHTS: Final = (Reason.TOO_LARGE, Reason.UNDECODABLE, Reason.INVALID, Reason.FUTURE)


class Rejected(NamedTuple):
    """A record that is no tick: its position in the input, the reason, and what was wrong."""

    position: int
    reason: Reason
    detail: str


class Verdicts:
    """Verdicts on ``n`` records, each judged by itself."""

    def __init__(self, n: int) -> None:
        self._weight = np.full(n, len(_WEIGHTS), np.int8)
        self._detail: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._weight)

    def refuse(
        self,
        which: NDArray[np.bool_] | NDArray[np.intp],
        reason: Reason,
        detail: str | Callable[[int], str],
    ) -> None:
        """Refuse the records in ``which`` unless they were refused for as much already.

        Args:
            which: a mask of shape (n,), or positions.
            reason: TOO_LARGE, UNDECODABLE, INVALID or FUTURE.
            detail: the words, or a function of the position that gives them.
        """
        at = np.flatnonzero(which) if which.dtype == np.bool_ else which
        if not len(at):
            return
        weight = _WEIGHTS.index(reason)
        at = at[self._weight[at] > weight]
        self._weight[at] = weight
        if callable(detail):
            self._detail.update((position, detail(position)) for position in at.tolist())
        else:
            self._detail.update(dict.fromkeys(at.tolist(), detail))

    def refuse_each(self, details: Mapping[int, str], reason: Reason) -> None:
        """Refuse the records at the positions in ``details``, each for its own words."""
        self.refuse(np.fromiter(details, np.intp, len(details)), reason, details.__getitem__)

    @property
    def clean(self) -> bool:
        """Whether nothing was refused."""
        return not self._detail

    @property
    def accepted(self) -> NDArray[np.bool_]:
        """Mask of what was not refused, shape (n,)."""
        return np.equal(self._weight, len(_WEIGHTS))

    @property
    def readable(self) -> NDArray[np.bool_]:
        """Mask of what has all its fields, whether they can be those of a tick or not."""
        return np.greater(self._weight, _WEIGHTS.index(Reason.UNDECODABLE))

    def take_over(self, other: Verdicts, at: NDArray[np.intp]) -> None:
        """Take the verdicts of a part, whose records stand at positions ``at`` here."""
        self._weight[at] = other._weight
        self._detail.update((int(at[position]), text) for position, text in other._detail.items())

    def rejected(self) -> list[Rejected]:
        """What was refused, by position."""
        return [
            Rejected(position, _WEIGHTS[self._weight[position]], self._detail[position])
            for position in sorted(self._detail)
        ]
