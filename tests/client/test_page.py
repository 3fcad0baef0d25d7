"""What docs/timebucket.md shows can be copied: its programs run."""

from __future__ import annotations

import ast
import asyncio
import inspect

import pytest

from barstream.model.time import MINUTE_US
from tests.serve.memory_reads import FIVE, make_bar

from .conftest import TEN_US, Service
from .inside_worker import examples

OUTSIDE = [program for program in examples() if "connect" in program]


@pytest.mark.parametrize("program", OUTSIDE, ids=range(len(OUTSIDE)))
def test_a_program_of_the_page_runs(
    service: Service, program: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(OUTSIDE) == 3
    holder = service.workers[1].reads
    holder.partition_of["FX", "EURUSD"] = 1
    bar = make_bar(TEN_US)
    holder.add(bar, bar.replace(bucket_start_us=TEN_US + 59 * MINUTE_US))
    holder.add(bar, period=FIVE)
    program = program.replace("http://127.0.0.1:6066", service.workers[0].url)
    names: dict[str, object] = {}
    code = compile(program, "timebucket.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

    async def run() -> None:
        running = eval(code, names)
        assert inspect.iscoroutine(running)
        await running

    asyncio.run(run())
    if "today" in names:
        assert names["today"] == names["newest"] == names["one"] == [bar]
    elif "frame" in names:
        assert capsys.readouterr().out.count("True") == 2
    else:
        assert names["bar"] == bar.replace(bucket_start_us=TEN_US + 59 * MINUTE_US)
