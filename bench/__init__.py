"""Measurements, committed so that anyone can repeat them; see bench/README.md."""
