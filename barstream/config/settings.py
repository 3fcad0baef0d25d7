"""All settings as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr, ValidationInfo, field_validator

from barstream.config.fields import AppId, Bootstrap, Section, Target
from barstream.config.sections import (
    BarSettings,
    HeartbeatSettings,
    KafkaSettings,
    RecoverySettings,
    StorageSettings,
    TickSettings,
    TopicSettings,
    WebSettings,
)

DEFAULT = "default"


class Settings(Section):
    """What is in force, typed and checked.

    ``Settings()`` is all defaults and reads nothing; `load_settings` adds the file and the
    environment and records where each value comes from.
    """

    app_id: AppId = "barstream"
    """Names the consumer group and the transactions; one per independent set of workers."""
    bootstrap: Bootstrap = "127.0.0.1:9092"
    """Kafka brokers to start from, host:port separated by commas."""
    data_dir: Path = Path("barstream-data")
    """Local tables (RocksDB); one directory per worker."""
    pipeline: Target | None = None
    """Your own pipeline declaration, as module:NAME; by default the one that comes with us."""
    web: WebSettings = Field(default_factory=WebSettings)
    kafka: KafkaSettings = Field(default_factory=KafkaSettings)
    topics: TopicSettings = Field(default_factory=TopicSettings)
    ticks: TickSettings = Field(default_factory=TickSettings)
    bars: BarSettings = Field(default_factory=BarSettings)
    heartbeats: HeartbeatSettings = Field(default_factory=HeartbeatSettings)
    recovery: RecoverySettings = Field(default_factory=RecoverySettings)
    storage: StorageSettings = Field(default_factory=StorageSettings)

    @field_validator("heartbeats", mode="after")
    @classmethod
    def _brokers_as_in_ticks(
        cls, heartbeats: HeartbeatSettings, info: ValidationInfo
    ) -> HeartbeatSettings:
        # absent where it is refused itself
        ticks: TickSettings | None = info.data.get("ticks")
        return heartbeats if ticks is None else heartbeats.spelled(ticks.name_rule)

    _sources: dict[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def with_sources(cls, values: Mapping[str, Any], sources: Mapping[str, str]) -> Settings:
        """Settings from nested values, remembering where each came from.

        Raises:
            pydantic.ValidationError: a value is not usable.
        """
        settings = cls.model_validate(values)
        settings._sources.update(sources)
        return settings

    @property
    def sources(self) -> Mapping[str, str]:
        """Dotted name to where the value comes from, for every setting in its order."""
        return {name: self._sources.get(name, DEFAULT) for name in self.flat()}

    def flat(self) -> dict[str, Any]:
        """Dotted name to value, mappings entry by entry; secrets stay wrapped."""
        flat: dict[str, Any] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, Section):
                for key in type(value).model_fields:
                    _spread(flat, f"{name}.{key}", getattr(value, key))
            else:
                _spread(flat, name, value)
        return flat


def _spread(flat: dict[str, Any], name: str, value: Any) -> None:
    if isinstance(value, dict) and value:
        flat.update({f"{name}.{key}": entry for key, entry in value.items()})
    else:
        flat[name] = value
