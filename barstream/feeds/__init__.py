"""Feeds: ticks made up (``simulate``) and ticks from files (``load``), and how they are sent."""
