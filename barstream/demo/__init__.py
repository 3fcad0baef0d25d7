"""The demo: everything barstream needs, in one go, and nothing left behind."""

from __future__ import annotations

from barstream.demo.run import Demo, DemoRules

__all__ = ["Demo", "DemoRules"]
