"""The kinds of value a setting can have, each with the check that goes with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from barstream.config.mask import printable
from barstream.model.period import Anchor, Period
from barstream.model.time import SECOND_US
from barstream.model.topic_name import timeframe

_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")
_APP_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")
_ADDRESS: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
_HOST: Final = re.compile(r"\*|(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_TIMEFRAME: Final = re.compile(r"([0-9]{1,9})(m|h|d|wk|mo)")
#: What a header can carry (RFC 6750), and nobody guesses.
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]{16,1000}=*")
_LAST_PORT: Final = 65_535


class Section(BaseModel):
    """A table of the settings file: frozen, and unknown keys are refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _as_written(cls, value: Any, info: ValidationInfo) -> Any:
        """Empty text means none where none is allowed (TOML has no null); true is no number."""
        accepted = _accepted_types(cls, info.field_name or "")
        if value == "" and type(None) in accepted:
            return None
        if isinstance(value, bool) and bool not in accepted:
            raise ValueError("must not be true or false")
        return value

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Settings end up in tracebacks and logs, so their text is masked as well."""
        return ((name, printable(value)) for name, value in super().__repr_args__())


def _accepted_types(section: type[BaseModel], key: str) -> tuple[Any, ...]:
    annotation = section.model_fields[key].annotation
    return getattr(annotation, "__args__", (annotation,))


def may_be_none(section: type[BaseModel], key: str) -> bool:
    """Whether the setting is optional, so that empty text stands for "none"."""
    return key in section.model_fields and type(None) in _accepted_types(section, key)


def seconds_to_us(seconds: float) -> int:
    """Whole microseconds, nearest: settings are given in seconds, the core counts in these."""
    return round(seconds * SECOND_US)


def anchored(period: Period, anchor: Anchor) -> Period:
    """``period`` on the grid of ``anchor``, if it goes by event time and states no grid itself."""
    if anchor == "utc" or not period.is_intraday or period.offset is not None:
        return period
    return Period(period.count, period.unit, anchor=anchor)


def period_of(text: str, anchor: Anchor) -> Period:
    """The period of a text, which is on the grid of ``anchor`` unless it states its own.

    Raises:
        ValueError: it is no period, or none of that grid.
    """
    # parsed with its anchor at once: 7m is possible from an open, and not on the UTC grid
    is_bare = text.strip()[-1:] in ("m", "h") and "+" not in text
    return Period.parse(f"{text}@session" if is_bare and anchor == "session" else text)


def timeframe_of(text: str) -> str:
    """``5m`` in its one spelling, whatever grid the period of that name lies on.

    Raises:
        ValueError: it is no count and unit.
    """
    spelled = text.strip()
    found = _TIMEFRAME.fullmatch(spelled)
    if found is None:
        raise ValueError(f"must be a timeframe such as 5m, 1h, 1d, 1wk or 1mo, found {text!r}")
    count, unit = int(found[1]), found[2]
    if unit == "m" and count and count % 60 == 0:
        count, unit = count // 60, "h"
    return timeframe(count, unit)


def listed(value: Any) -> Any:
    """The entries of a list; the environment gives them as one text, separated by commas."""
    if isinstance(value, str):
        return tuple(value.split(",")) if value.strip() else ()
    return value


def _bootstrap(text: str) -> str:
    addresses = [part.strip() for part in text.split(",")]
    for address in addresses:
        match = _ADDRESS.fullmatch(address)
        if match is None or not 1 <= int(match[1]) <= _LAST_PORT:
            raise ValueError(
                "must be host:port, several separated by commas and without a scheme "
                f"(for example 127.0.0.1:9092), found {address!r}"
            )
    return ",".join(addresses)


def _topic(name: str) -> str:
    if not _TOPIC.fullmatch(name) or name in (".", ".."):
        raise ValueError(
            f"must be a Kafka topic name: 1 to 249 of the letters a-z A-Z 0-9 . _ -, found {name!r}"
        )
    return name


def _app_id(name: str) -> str:
    if not _APP_ID.fullmatch(name):
        raise ValueError(
            "must be 1 to 100 of the letters a-z A-Z 0-9 . _ - (it names the consumer group and "
            f"the transactions), found {name!r}"
        )
    return name


def _target(text: str) -> str:
    module, _, name = text.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), name)):
        raise ValueError(f"must be module:NAME, such as my_bars:PIPELINE, found {text!r}")
    return text


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        # the text is not repeated: it may hold a password
        raise ValueError("must be a URL that begins with http:// or https:// and names a host")
    return text.rstrip("/")


def _host(text: str) -> str:
    name = text.strip().lower()
    if not _HOST.fullmatch(name):
        raise ValueError(
            "must be the name of a host without scheme and port, such as bars.example.org, "
            f"*.example.org for every name below, or * for any, found {text!r}"
        )
    return name


Bootstrap = Annotated[str, AfterValidator(_bootstrap)]
TopicName = Annotated[str, AfterValidator(_topic)]
AppId = Annotated[str, AfterValidator(_app_id)]
Target = Annotated[str, AfterValidator(_target)]


def _token(secret: SecretStr) -> SecretStr:
    if not _TOKEN.fullmatch(secret.get_secret_value()):
        raise ValueError(
            "must be at least 16 characters out of A-Z a-z 0-9 . _ ~ + / - such as `openssl rand "
            "-hex 32` prints (the value is not shown)"
        )
    return secret


Host = Annotated[str, AfterValidator(_host)]
Url = Annotated[str, AfterValidator(_url)]
Token = Annotated[SecretStr, AfterValidator(_token)]
FieldName = Annotated[str, Field(min_length=1)]
"""Name of a field in the user's own tick schema."""
