"""Randomised fault runs: each seed decides feed, rules, workers, faults and their moments."""
