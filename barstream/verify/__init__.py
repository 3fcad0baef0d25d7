"""An independent check of everything that was published, from the ticks up.

Bars are recomputed with polars and not with the folds the workers use: a mistake there would only
be repeated.  What is shared is what defines the input: decoding of ticks, and the schedule's rows.
"""
