"""What the topics hold, read back offline: ranges of partitions, as columns and rows.

Nothing here belongs to a consumer group, applies a tick or writes: `verify`, `replay` and `explain`
look at the log through this package, whether workers run meanwhile or not.
"""
