"""The page of the fields of a bar, made of their list and of the schema.

python -m tests.bar_page > docs/bars.md
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from barstream.client.frame import SCHEMA
from barstream.codecs.topics.bar_json import bar_to_json
from barstream.model.bar import Bar
from barstream.model.bar_fields import BAR_FIELDS, EXACT_FIELDS, STORED, FieldKind

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "bars.md"
_EXAMPLE: Final[tuple[Any, ...]] = (
    "OANDA", "EURUSD", 1_704_189_600_000_000, 19_724, 0, 1.10375, 1.1038, 1.1036, 1.1037, 41.5,
    45.8091875, 17,
    1_704_189_600_250_000, 1_704_189_659_900_000, False, 0, 4_210, 4_266, 4_270,
)  # fmt: skip
_IN_PYTHON: Final = {
    FieldKind.TEXT: "str", FieldKind.BUCKET: "int, microseconds", FieldKind.TIME:
    "int, microseconds", FieldKind.DATE: "int, days since 1970-01-01", FieldKind.INT: "int",
    FieldKind.LONG: "int", FieldKind.FLOAT: "float", FieldKind.FLAG: "bool",
}  # fmt: skip


def page() -> str:
    """The page of all fields."""
    schema = json.loads((ROOT / "barstream" / "schemas" / "bar.avsc").read_text())
    said: dict[str, dict[str, Any]] = {each["name"]: each for each in schema["fields"]}
    stored = (field.attribute for field in STORED)
    as_json = bar_to_json(Bar(**dict(zip(stored, _EXAMPLE, strict=True))))
    rows = [
        "# The fields of a bar",
        "",
        "One list (`barstream/model/bar_fields.py`), from which topics, answers over HTTP, frames",
        "and what `verify` compares are made. Made by `python -m tests.bar_page`.",
        "",
        "| field | what it is | Avro | JSON, an example | in a frame | of `Bar` |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for field in BAR_FIELDS:
        kind = SCHEMA.field(field.name).type
        attribute = f"`{field.attribute}`: {_IN_PYTHON[field.kind]}"
        rows.append(
            f"| `{field.name}` | {said[field.name]['doc']} | {_avro(said[field.name]['type'])} | "
            f"`{json.dumps(as_json[field.name])}` | {kind} | {attribute} |"
        )
    exact = " ".join(
        f"`{name}` ({_avro(said[name]['type'])}): {doc[0].lower()}{doc[1:]}"
        for name, doc in ((field.name, said[field.name]["doc"]) for field in EXACT_FIELDS)
    )
    rows += [
        "",
        "A bar in JSON also has `status` (`live` or `final`), one in a frame or in Python `final`;",
        "in Python its times are also aware datetimes: `bucket_start`, `open_time`, `close_time`,",
        "and `trading_day`.",
        "The key of its record is `broker NUL symbol NUL bucket_start`. In the topic alone stand",
        exact,
        "",
        "The table has the fields as JSON and frames have them. A record has them in the order in",
        "which they were added (`barstream/schemas/bar.avsc`): who reads by the schema of before,",
        "stops where that ends.",
        "",
        "What makes them: [the reference](../tests/reference/series.py), one tick at a time.",
    ]
    return "\n".join(rows) + "\n"


def _avro(kind: Any) -> str:
    if isinstance(kind, list):
        return " or ".join(map(_avro, kind))
    return f"{kind['type']} ({kind['logicalType']})" if isinstance(kind, dict) else str(kind)


if __name__ == "__main__":
    sys.stdout.write(page())
