"""``barstream try``: one's own file as bars, with nothing installed or configured."""

from __future__ import annotations

import asyncio
import shlex
import tempfile
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from barstream.cli.file_options import file_options, options_of
from barstream.clock import system_clock_us
from barstream.plurals import counted

if TYPE_CHECKING:
    from barstream.cli.progress import TickProgress
    from barstream.demo.display import DemoScreen
    from barstream.demo.trial import Trial, TrialResult, TrialRules
    from barstream.feeds.load_plan import Batch

_BROKER = "FILE"


@click.command("try")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@file_options
@click.option(
    "--calendar",
    metavar="NAME",
    help="Sessions: FX, 24x7, or an exchange such as XNYS; around the clock by default.",
)
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep everything in it, to go on from; else it is removed at the end.",
)
@click.option(
    "--web-port",
    type=click.IntRange(1, 65_535),
    help="Port of the page; by default 6066, or a free one.",
)
@click.option("--open", "open_page", is_flag=True, help="Open the page in a browser.")
@click.option("--for", "seconds", type=click.FloatRange(0), help="Stop after this many seconds.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    files: tuple[str, ...],
    calendar: str | None,
    keep: Path | None,
    web_port: int | None,
    open_page: bool,
    seconds: float | None,
    **said: Any,
) -> None:
    """See the bars of your own ticks on a page; Ctrl-C ends everything.

    FILE is CSV, JSON lines or Parquet, compressed or not.  A file whose header says what its
    columns are needs no options; --preset knows how vendors write.  It starts a broker of its own,
    and your settings are not used.  Exit code 1 if rows were left out or no bar was made.
    """
    from barstream.cli.progress import TickProgress
    from barstream.config.sections import BarSettings
    from barstream.demo.display import DemoScreen
    from barstream.demo.trial import Trial, TrialRules
    from barstream.feeds.container import sources_of
    from barstream.feeds.load_plan import read_batch

    options = options_of(said, broker_default=_BROKER, symbol_by_name=True)
    screen = DemoScreen()
    sources = sources_of(files)
    with TickProgress(sources[0].name) as progress:
        latest_us = system_clock_us() + BarSettings().max_future_skew_us
        batch, found = read_batch(sources, options, progress, latest_us=latest_us)
        preset = found.preset
        if preset is not None and options.preset is None:
            screen.say(f"{batch.name} is written as with --preset {preset}")
        screen.say(f"{batch.name}: {found.words(assumed_zone=batch.ticks.assumed_zone)}")
        with tempfile.TemporaryDirectory(prefix="barstream-try-") as scratch:
            rules = TrialRules((keep or Path(scratch)).resolve(), web_port, calendar)
            trial = Trial(rules, batch, progress)
            shown = _Shown(screen, progress, keep, open_page, seconds)
            result = asyncio.run(_run(trial, batch, rules, shown))
        screen.say(f"everything is stopped, {keep or 'nothing of it'} stays")
    if result is not None and (batch.ticks.counted.refused or not result.bars["1m"]):
        ctx.exit(1)


class _Shown:
    """What is said after the bars are there."""

    def __init__(
        self,
        screen: DemoScreen,
        progress: TickProgress,
        keep: Path | None,
        open_page: bool,
        seconds: float | None,
    ) -> None:
        self.screen = screen
        self.progress = progress
        self.seconds = seconds
        self._keep = keep
        self._open_page = open_page

    def result(self, trial: Trial, batch: Batch, result: TrialResult) -> None:
        """The summary, and the address of the page as the last line."""
        from barstream.cli.load_report import report_lines

        say = self.screen.say
        loaded = result.loaded
        ticks = 0 if loaded is None else loaded.ticks
        sent = f"{counted(ticks, 'tick')} sent"
        say(f"{batch.name}: {sent}, {result.seconds:.1f} s in all", "bold")
        for line in report_lines(batch, result.admission):
            say(f"  {line}")
        bars = ", ".join(f"{each} {count:,}" for each, count in result.bars.items() if count)
        filled = f", {result.synthetic:,} of the 1m ones filled" if result.synthetic else ""
        still = ", ".join(each for each, count in result.bars.items() if not count)
        open_yet = f"; the first of {still} is open, for the ticks end inside it" if still else ""
        say(f"  final bars: {bars or 'none'}{filled}{open_yet}")
        if result.rejected:
            by = ", ".join(f"{reason} {count:,}" for reason, count in result.rejected.items())
            say(f"  rejected by the worker: {by}")
        if trial.rules.calendar is None:
            say("  sessions: none, around the clock in UTC; --calendar FX, XNYS, ... gives them")
        if self._keep is not None:
            from barstream.demo.sandbox import program_name

            say("Everything is kept. To go on with it after Ctrl-C:")
            toml = trial.sandbox.toml
            broker = trial.sandbox.directory / "broker"
            say(f"  export BARSTREAM_CONFIG={shlex.quote(str(toml))}")
            program = program_name()
            say(f"  {program} broker --data-dir {shlex.quote(str(broker))} &")
            say(f"  {program} worker")
        if trial.sandbox.port_note:
            say(trial.sandbox.port_note)
        say("The page:" if self._keep is not None else "Ctrl-C ends it. The page:")
        say(trial.page)
        if self._open_page:
            webbrowser.open(trial.page)


async def _run(trial: Trial, batch: Batch, rules: TrialRules, shown: _Shown) -> TrialResult | None:
    """None when it was stopped before all bars were there."""
    from barstream.cli.feed_stop import stopped_by_signals

    with stopped_by_signals(trial.stop):
        async with trial.sandbox:
            result = await _result(trial, rules, shown.screen)
            if result is not None:
                shown.result(trial, batch, result)
                await trial.wait(shown.seconds)
            shown.screen.say("stopping", "dim")
    return result


async def _result(trial: Trial, rules: TrialRules, screen: DemoScreen) -> TrialResult | None:
    """None when it was stopped before all bars were there."""

    def stopped() -> bool:
        return trial.sandbox.stopped

    hours = "bars around the clock" if rules.calendar is None else f"sessions of {rules.calendar}"
    if stopped():
        return None
    with screen.step("topics") as told:
        await trial.start()
        told(hours)
    if stopped():
        return None
    loaded, admission = await trial.load()
    if stopped():
        return None
    with screen.step("bars") as told:
        result = await trial.finish(loaded, admission)
        if stopped():
            return None
        told(f"{result.bars['1m']:,} of one minute")
    return result
