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
