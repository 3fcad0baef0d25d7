"""The errors barstream raises on purpose, under one root.

A message says what was required, what was found and what to do next; the docstring of each
class says what the operator does about it.
"""

from __future__ import annotations


class BarstreamError(Exception):
    """Something an operator can mend: the message says what was required, found, and to be done.

    The command line prints the message without a traceback and exits with ``exit_code``.  An
    exception outside this tree is a defect of barstream: report it, with its traceback.
    """

    exit_code = 2


def with_advice(error: str, what_to_do: str | None) -> str:
    """What was found and what to do about it; a question ends its own sentence."""
    if not what_to_do:
        return error
    if error.endswith("?"):
        return f"{error} {what_to_do[0].upper()}{what_to_do[1:]}"
    return f"{error}; {what_to_do}"


class ConfigError(BarstreamError):
    """The settings cannot be used, so nothing has been started.

    Mend the value in the place the message names (the file, a line of it, or an environment
    variable); ``barstream config`` then shows what is in force and where it comes from.
    """


class MissingPieceError(BarstreamError):
    """A command needs a part of barstream that is not installed.

    Install the whole project again (``make``, or ``pip install barstream`` in a new
    environment); if it is whole, this version does not have the command yet.
    """


class LostChunk(BarstreamError):
    """Records between the applied position and the next chunk never arrived.

    The worker crashes with nothing acknowledged and, started again, goes on from its position
    row.  Nothing is to be done unless it happens again and again.
    """


class TicksGone(BarstreamError):
    """The tick topic no longer holds what comes next: truncated, deleted or made again.

    The bars up to the position stand.  Find out what happened to the topic, then follow the
    command in the message; ticks that are gone cannot be brought back.
    """


class TailLost(TicksGone):
    """Kafka lost the tail of the tick topic and has grown over it: other ticks are where it was.

    The bars of the lost ticks stand.  The message says from which offset on the topic is another
    one, how to see which bars that are, and how to start over on what the topic holds now.
    """


class StateUnusable(BarstreamError):
    """The local state or a changelog contradicts the broker.

    Remove the data directory of this worker when only the local state is older or newer than
    the changelog: it is restored from Kafka at the next start.
    """


class FlushStalled(BarstreamError):
    """A transaction was not finished within its deadline.

    The worker stops; started again it learns from the broker whether the transaction was
    committed.  Look at the brokers: under-replicated partitions, full disks, network.
    """


class BatchRefused(BarstreamError):
    """A topic takes smaller batches than when the worker asked it.

    Started again, the worker asks anew and goes by what it is told.
    """


class RowTooLarge(BarstreamError):
    """One row is larger than its topic takes in a batch; nothing of its transaction is written.

    Raise ``max.message.bytes`` of the topic, or leave out what made the row so large.
    """


class ReadingStalled(BarstreamError):
    """A partition is not read although there are ticks to read, or a changelog gives none.

    The worker stops and its partitions go to the others; start it again.  If it comes back, look
    at the brokers: a partition without a leader, a network that drops packets.
    """


class NameRuleChanged(BarstreamError):
    """``ticks.fold_case`` was turned on over series whose names have lower case.

    Their ticks would go to another series, and what is kept of them would stand still.  Turn it
    off again, or start anew under another ``app_id`` and ``topics.base``.
    """


class DescriptorsShort(BarstreamError):
    """The tables of the partitions given to this worker need more open files than it may have.

    Raise the limit where the worker is started, or start more workers: the partitions are shared.
    """
