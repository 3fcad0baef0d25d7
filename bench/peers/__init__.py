"""The same bars made another way, for the ratio."""
