"""Bars derived anew from the tick log, beside those that are published.

The engine is the one of the workers, driven offline: closes come from the log and not from a
clock, and what is written goes into shadow topics of its own.  See
``docs/decisions/0009-replay.md``.
"""
