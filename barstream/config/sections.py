"""The sections of the settings, one class each; the docstring under a field documents it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    FilePath,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from barstream.config.fields import (
    FieldName,
    Host,
    Section,
    Token,
    TopicName,
    Url,
    listed,
    period_of,
    seconds_to_us,
    timeframe_of,
)
from barstream.model.key import NameRule, trimmed
from barstream.model.period import MINUTE, Anchor
from barstream.pipeline.default import DEFAULT

Seconds = Annotated[float, Field(ge=0, le=86_400)]
Hosts = Annotated[tuple[Host, ...], BeforeValidator(listed)]
#: What ``ticks.max_batch_mib`` may be.
LEAST_BATCH_MIB: Final = 1
MOST_BATCH_MIB: Final = 1_024
Days = Annotated[float, Field(gt=0, le=36_500)]


class WebSettings(Section):
    """Where the worker's web views are served."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Address to bind; other machines are opt-in, and then a token is wanted."""
    port: Annotated[int, Field(ge=1, le=65_535)] = 6066
    """Port to bind; one per worker on the same machine."""
    token: Token | None = None
    """What every request must show (Authorization: Bearer); the same on all workers; secret."""
    advertise_url: Url | None = None
    """URL under which the other workers reach this one; by default made from host and port."""
    hosts: Hosts = ()
    """Other names it is asked by, `*.example.org` for all below; addresses need not be named."""
    max_connections: Annotated[int, Field(ge=8, le=100_000)] = 256
    """Connections held at once, each a descriptor; the ones idle for longest make room."""
    max_rows: Annotated[int, Field(ge=1_000, le=100_000_000)] = 40_000
    """Rows read at once for all requests of a kind, about 1 kB each; further requests wait."""


class KafkaSettings(Section):
    """How the clients talk to Kafka: security and time-outs."""

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """As in every Kafka client."""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    """Required with the SASL protocols."""
    sasl_username: str | None = None
    """Required with the SASL protocols."""
    sasl_password: SecretStr | None = None
    """Required with the SASL protocols; never printed."""
    ssl_cafile: FilePath | None = None
    """Certificate authorities to trust (PEM); by default those of the system."""
    ssl_certfile: FilePath | None = None
    """Certificate of this client (PEM), for brokers that ask for one."""
    ssl_keyfile: FilePath | None = None
    """Private key that goes with ssl_certfile."""
    ssl_check_hostname: bool = True
    """Whether the broker's certificate must carry the name it was reached by."""
    group_instance_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,200}$")] | None = None
    """Static membership of the consumer group; different for every worker."""
    session_timeout_s: Annotated[float, Field(ge=1, le=1_800)] = 6.0
    """After so long without a sign of life a worker's partitions go to the others."""
    request_timeout_s: Annotated[float, Field(gt=0, le=3_600)] = 40.0
    """After so long a request to a broker is given up."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        sasl = {
            "sasl_mechanism": self.sasl_mechanism,
            "sasl_username": self.sasl_username,
            "sasl_password": self.sasl_password,
        }
        missing = [name for name, value in sasl.items() if value is None]
        if self.security_protocol.startswith("SASL_"):
            if missing:
                raise ValueError(f"{self.security_protocol} also needs {', '.join(missing)}")
        elif len(missing) < len(sasl):
            given = ", ".join(name for name in sasl if name not in missing)
            raise ValueError(
                f"{given} would not be used with security_protocol {self.security_protocol}: "
                "set it to SASL_SSL (or SASL_PLAINTEXT)"
            )
        files = (self.ssl_cafile, self.ssl_certfile, self.ssl_keyfile)
        if any(files) and not self.security_protocol.endswith("SSL"):
            raise ValueError(
                f"the ssl files would not be used with security_protocol {self.security_protocol}:"
                " set it to SSL or SASL_SSL"
            )
        if (self.ssl_certfile is None) != (self.ssl_keyfile is None):
            raise ValueError("ssl_certfile and ssl_keyfile go together: set both or neither")
        if self.request_timeout_s <= self.session_timeout_s:
            raise ValueError(
                f"request_timeout_s ({self.request_timeout_s:g}) must be above "
                f"session_timeout_s ({self.session_timeout_s:g})"
            )
        return self


class TopicSettings(Section):
    """Names and shapes of the topics."""

    ticks: TopicName = "ticks"
    """Input: your ticks."""
    ticks_rejected: TopicName = "ticks_rejected"
    """Ticks that made no bar, each with its reason."""
    market_schedule: TopicName = "market_schedule"
    """One row per market session."""
    series_seen: TopicName = "series_seen"
    """One row per series: where its ticks are seen, whether its feed is live."""
    heartbeats: TopicName = "hb_1m"
    """Heartbeats that close minutes."""
    base: TopicName = "rate"
    """First part of the names of the bar topics: rate_1m_final."""
    overrides: dict[str, TopicName] = Field(default_factory=dict)
    """Other names for single topics: logical name to topic name."""
    partitions: Annotated[int, Field(ge=1, le=10_000)] = 4
    """Partitions of the topics that are created; an existing tick topic decides for itself."""
    replication: Annotated[int, Field(ge=1, le=32)] = 1
    """Copies of each partition; 3 for a cluster that must survive a broker."""
    retention_days: Days = 30.0
    """How long bars of minutes, and heartbeats, are kept, in Kafka and on local disk."""
    timeframe_retention_days: dict[str, Days] = Field(default_factory=dict)
    """Timeframe to days; by default hours are kept six times as long as minutes, others 3650."""
    ticks_retention_days: Days = 30.0
    """How long a tick topic created by barstream keeps ticks."""

    @field_validator("timeframe_retention_days", mode="after")
    @classmethod
    def _timeframe_spelling(cls, days: dict[str, float]) -> dict[str, float]:
        spelled = {timeframe_of(text): kept for text, kept in days.items()}
        if len(spelled) < len(days):
            raise ValueError(f"one timeframe in two spellings: {', '.join(sorted(days))}")
        if "1m" in spelled:
            raise ValueError("bars of 1m are kept as long as heartbeats: set topics.retention_days")
        return spelled

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        seen: dict[str, str] = {}
        names = ("ticks", "ticks_rejected", "market_schedule", "series_seen", "heartbeats")
        for name in names:
            topic = self.overrides.get(name, getattr(self, name))
            if topic in seen:
                raise ValueError(f"{seen[topic]} and {name} both name the topic {topic!r}")
            seen[topic] = name
        return self


class TickSettings(Section):
    """What a tick looks like: the mapping from your schema, so that no code is needed."""

    format: Literal["avro", "json"] = "avro"
    """Avro (in Confluent framing when registry_url is set), or JSON objects."""
    schema_file: FilePath | None = None
    """Avro schema of the ticks when there is no registry; by default the packaged tick.avsc."""
    registry_url: Url | None = None
    """Confluent-compatible schema registry, of ticks and of sessions that other programs write; a
    password inside is never printed."""
    broker: FieldName = "broker"
    """Field that holds the broker (the venue or feed)."""
    broker_constant: FieldName | None = None
    """The broker of every tick, for schemas that do not carry one."""
    symbol: FieldName = "symbol"
    """Field that holds the symbol."""
    time: FieldName = "time"
    """Field that holds the event time, UTC."""
    time_unit: Literal["us", "ms", "s", "ns", "iso", "auto"] = "auto"
    """Unit of the event time; auto takes it from the schema's logical type or the value."""
    price: FieldName = "price"
    """Field that holds the price; not used when bid and ask are set."""
    bid: FieldName | None = None
    """Field that holds the bid; with ask, the price is their middle."""
    ask: FieldName | None = None
    """Field that holds the ask."""
    size: FieldName | None = "size"
    """Field that holds the traded or quoted size; empty text: the feed has none."""
    fold_case: bool = True
    """Whether brokers and symbols are upper-cased; false: `BCpC` and `BCPC` are two series."""
    price_scale: Annotated[int, Field(ge=0, le=18)] = 0
    """Decimal places of integer prices: 3 makes 86655 the price 86.655."""
    max_batch_mib: Annotated[int, Field(ge=LEAST_BATCH_MIB, le=MOST_BATCH_MIB)] = 64
    """What a record batch may unpack to, in MiB; a batch of ticks beyond it is rejected, unread."""

    @property
    def name_rule(self) -> NameRule:
        """How brokers and symbols are spelled, by every part of the service."""
        return NameRule(self.fold_case)

    @model_validator(mode="after")
    def _one_meaning(self) -> Self:
        if (self.bid is None) != (self.ask is None):
            found, lacking = ("bid", "ask") if self.ask is None else ("ask", "bid")
            raise ValueError(f"{found} needs {lacking}: the price is the middle of the two")
        given = self.model_fields_set
        if self.bid is not None and "price" in given:
            raise ValueError("set either price, or bid and ask: only one of them can be used")
        if self.broker_constant is not None and "broker" in given:
            raise ValueError("set either broker (a field) or broker_constant (a value), not both")
        if self.format == "json":
            unused = [k for k in ("schema_file", "registry_url") if getattr(self, k) is not None]
            if unused:
                raise ValueError(f"{' and '.join(unused)} would not be used with format json")
        return self


Timeframes = Annotated[tuple[str, ...], BeforeValidator(listed)]


class BarSettings(Section):
    """The rules by which ticks become bars."""

    grace_s: Annotated[float, Field(ge=0, le=3_600)] = 5.0
    """How long after its end a minute waits for ticks that come out of order."""
    max_future_skew_s: Annotated[float, Field(ge=0, le=86_400)] | None = None
    """How far a tick may lie after its append time (or the clock, ticks.md); default the grace."""
    live_interval_ms: Annotated[int, Field(ge=10, le=60_000)] = 200
    """A changed open bar is published at most so often."""
    inactive_after: Annotated[int, Field(ge=1, le=10_000)] = 5
    """A series falls asleep after so many trading dates without a tick."""
    max_series: Annotated[int, Field(ge=1, le=10_000_000)] = 20_000
    """So many series a partition takes; ticks of others are rejected as `too_many_series`."""
    late_policy: Literal["reject", "revise"] = "reject"
    """What happens to a tick whose bar is final: to ticks_rejected, or into a revision of it."""
    anchor: Anchor = "utc"
    """Grid of the minutes and hours that state none: UTC, or from the open of each session."""
    timeframes: Timeframes = tuple(str(period) for period in DEFAULT.periods if period != MINUTE)
    """Bars beside 1m, such as 5m, 4h, 4h+1h, 1h@session, 1d, 1wk, 1mo; those of the pipeline."""
    live_timeframes: Timeframes = ()
    """Of which of them open bars are also published to a topic; they can always be read."""
    schedule: bool = True
    """Whether bars follow the market schedule; false: every series trades 24x7, UTC."""
    publish_off_session: bool = False
    """Whether ticks outside sessions are written to ticks_rejected (they are always counted)."""

    @field_validator("timeframes", mode="after")
    @classmethod
    def _are_periods(cls, texts: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        anchor = info.data.get("anchor", "utc")
        return tuple(str(period_of(text, anchor)) for text in texts)

    @field_validator("live_timeframes", mode="after")
    @classmethod
    def _are_timeframes(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(timeframe_of(text) for text in texts)

    @property
    def grace_us(self) -> int:
        """The grace in microseconds."""
        return seconds_to_us(self.grace_s)

    @property
    def max_future_skew_us(self) -> int:
        """The allowed skew in microseconds: the grace unless it is set."""
        skew_s = self.grace_s if self.max_future_skew_s is None else self.max_future_skew_s
        return seconds_to_us(skew_s)


class HeartbeatSettings(Section):
    """The heartbeats that close minutes when the feed is quiet."""

    enabled: bool = True
    """Off, only ticks close bars."""
    jitter_ms: Annotated[int, Field(ge=0, le=10_000)] = 250
    """The leader wakes up to so long after a minute is due."""
    backfill_minutes: Annotated[int, Field(ge=0, le=2)] = 0
    """For series nothing is known of: how many past minutes the first heartbeats cover."""
    resume_hold_s: Annotated[float, Field(ge=0, le=3_600)] = 30.0
    """After an outage feeds get so long to deliver what they buffered."""
    feed_delay_s: dict[str, Seconds] = Field(default_factory=dict)
    """Broker to seconds: feeds that are delayed by contract."""
    max_catch_up: Annotated[int, Field(ge=1, le=1_000_000)] = 50_000
    """Most heartbeats sent in one round of catching up."""

    @field_validator("feed_delay_s", mode="after")
    @classmethod
    def _broker_spelling(cls, delays: dict[str, float]) -> dict[str, float]:
        return _in_one_spelling(delays, trimmed)

    def spelled(self, name_rule: NameRule) -> HeartbeatSettings:
        """The same, with brokers as the ticks' rule spells them.

        Raises:
            ValueError: one broker is there in two spellings.
        """
        delays = _in_one_spelling(self.feed_delay_s, name_rule.normalise)
        if delays == self.feed_delay_s:
            return self
        return self.model_copy(update={"feed_delay_s": delays})

    @property
    def feed_delay_us(self) -> dict[str, int]:
        """Delays in microseconds by broker; brokers that have none are absent."""
        return {broker: seconds_to_us(delay) for broker, delay in self.feed_delay_s.items()}


def _in_one_spelling(
    delays: Mapping[str, float], spelling: Callable[[str], str]
) -> dict[str, float]:
    spelled = {spelling(broker): delay for broker, delay in delays.items()}
    if len(spelled) < len(delays):
        raise ValueError(f"one broker in two spellings: {', '.join(sorted(delays))}")
    return spelled


class RecoverySettings(Section):
    """How partitions come back after a worker was lost."""

    standby_replicas: Annotated[int, Field(ge=0, le=8)] = 0
    """So many other workers keep a warm copy of each partition; the same on every worker."""
    settle_within_s: Annotated[float, Field(ge=5, le=3_600)] = 120.0
    """A restored partition must be read again within so long, or the worker ends."""


class StorageSettings(Section):
    """The local tables (RocksDB)."""

    block_cache_mb: Annotated[int, Field(ge=8, le=1_000_000)] = 128
    """Memory for blocks of rows read from disk, MiB, of all tables of a worker together."""
    write_buffer_mb: Annotated[int, Field(ge=8, le=1_000_000)] = 64
    """Memory for rows that stand in no file yet, MiB, of all tables of a worker together."""
