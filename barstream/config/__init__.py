"""Typed settings: one TOML file, the environment on top, every value with its source."""

from __future__ import annotations

from barstream.config.loader import load_settings
from barstream.config.sections import (
    BarSettings,
    HeartbeatSettings,
    KafkaSettings,
    TickSettings,
    TopicSettings,
    WebSettings,
)
from barstream.config.settings import Settings

__all__ = [
    "BarSettings",
    "HeartbeatSettings",
    "KafkaSettings",
    "Settings",
    "TickSettings",
    "TopicSettings",
    "WebSettings",
    "load_settings",
]
