"""``barstream replay``: bars derived anew, compared with what is published, switched over to."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from barstream.cli.context import Name, Time
from barstream.cli.context import settings as settings_of

if TYPE_CHECKING:
    from barstream.config import Settings
    from barstream.replay.diff import PartitionDiff
    from barstream.replay.scope import Derived

#: Differences shown to people; ``--json`` gives all.
_SHOWN: Final = 50


class ReplayGroup(click.Group):
    """What follows ``replay`` is a broker, unless it names a sub-command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put ``run`` where it may be left out."""
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["run", *args]
        return super().parse_args(ctx, args)


suffix_option = click.option(
    "--suffix", required=True, metavar="NAME", help="Names the replay and its shadow topics."
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object per line."
)
processes_option = click.option(
    "--processes", type=click.IntRange(1), help="Processes to run at once.  [default: one per core]"
)


@click.group("replay", cls=ReplayGroup)
def command() -> None:
    """Derive bars anew from the tick log into shadow topics, and compare them.

    `barstream replay --suffix NAME [BROKER [SYMBOL]]` is short for `barstream replay run`. What is
    published is only read; `replay switch` alone writes to it.
    """


@command.command("run")
@click.argument("broker", required=False, type=Name())
@click.argument("symbol", required=False, type=Name())
@suffix_option
@click.option("--from", "from_us", type=Time(), help="First bar, rounded up to a whole minute.")
@click.option("--to", "to_us", type=Time(), help="End (exclusive): bars that start before it.")
@click.option("--partition", type=click.IntRange(0), help="Only this tick partition.")
@click.option("--from-offset", type=click.IntRange(0), help="First tick offset (with --partition).")
@click.option("--to-offset", type=click.IntRange(0), help="End of the tick offsets (exclusive).")
@click.option("--grace", type=float, metavar="SECONDS", help="Another grace than that in force.")
@click.option("--late-policy", type=click.Choice(["reject", "revise"]), help="Another policy.")
@click.option(
    "--schedule", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
    help="Sessions instead of those in force, which they replace as in `schedule load`.",
)  # fmt: skip
@click.option(
    "--anew", is_flag=True,
    help="Derive closes from ticks and heartbeats even if the rules are unchanged.",
)  # fmt: skip
@click.option("--again", is_flag=True, help="First delete the shadow topics of this suffix.")
@click.option("--diff-only", is_flag=True, help="Replay nothing: the same as `replay diff`.")
@processes_option
@json_option
@click.pass_context
def run_command(
    ctx: click.Context,
    *,
    broker: str | None,
    symbol: str | None,
    suffix: str,
    from_us: int | None,
    to_us: int | None,
    partition: int | None,
    from_offset: int | None,
    to_offset: int | None,
    grace: float | None,
    late_policy: str | None,
    schedule: Path | None,
    anew: bool,
    again: bool,
    diff_only: bool,
    processes: int | None,
    as_json: bool,
) -> None:
    """Derive bars anew and compare them with what is published.

    With unchanged rules each bar is closed where the published one was; with another grace, policy
    or schedule, where ticks and heartbeats close it. Exit code 0: nothing differs; 1: something
    does; 2: it could not be found out.
    """
    if (from_offset is not None or to_offset is not None) and partition is None:
        raise click.UsageError("offsets are of one partition: name it with --partition")
    if from_offset is not None and from_us is not None:
        raise click.UsageError("a replay starts at --from or at --from-offset, not at both")
    before = _settings(ctx, {})
    overrides = {"bars.grace_s": grace, "bars.late_policy": late_policy}
    given = {name: value for name, value in overrides.items() if value is not None}
    settings = _settings(ctx, given)
    if diff_only:
        ctx.exit(_compare(settings, suffix, processes, as_json=as_json))

    from barstream.cli.progress import TickProgress
    from barstream.log.selection import Selection
    from barstream.replay.request import checked_suffix
    from barstream.replay.run import Asked, prepare, replay, total_of

    try:
        wanted = Selection.of(broker, symbol, name_rule=settings.ticks.name_rule)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    same = schedule is None and settings.bars == before.bars
    asked = Asked(
        wanted, from_us, to_us, partition, from_offset, to_offset, schedule, same and not anew
    )
    jobs = asyncio.run(prepare(settings, checked_suffix(suffix), asked))
    with TickProgress("replay", quiet=as_json, lines=True) as progress:
        progress.begin(0, asyncio.run(total_of(jobs)))
        done = replay(jobs, again=again, processes=processes, on_progress=progress.advance)
        for sentence in _remarks(done):
            progress.say(sentence)
    ctx.exit(_compare(settings, suffix, processes, as_json=as_json))


@command.command("diff")
@suffix_option
@processes_option
@json_option
@click.pass_context
def diff_command(ctx: click.Context, suffix: str, processes: int | None, *, as_json: bool) -> None:
    """Compare a replay with what is published now."""
    ctx.exit(_compare(_settings(ctx, {}), suffix, processes, as_json=as_json))


@command.command("switch")
@suffix_option
@click.option("--yes", is_flag=True, help="Do it; without this, only say what would be done.")
@json_option
@click.pass_context
def switch_command(ctx: click.Context, suffix: str, *, yes: bool, as_json: bool) -> None:
    """Write the bars in which a replay differs to the published topics.

    Refused while workers run. Bars that differ are written again with a higher revision, bars that
    the replay does not have are withdrawn, and longer bars are folded anew from the result. One
    transaction per partition: a switch-over that was interrupted can be run again and does what is
    left.
    """
    from barstream.kafka.consumer_group import require_no_workers
    from barstream.replay.cutover import Switched, outlook, switch
    from barstream.replay.diff import replayed_partitions
    from barstream.replay.request import checked_suffix

    def say(part: Switched) -> None:
        row = {"type": "switched" if yes else "would_switch", **asdict(part)}
        text = (
            f"partition {part.partition}: {part.written:,} bars {'' if yes else 'would be '}"
            f"written, {part.withdrawn:,} withdrawn"
            + (f", {part.rejected:,} ticks rejected" if part.rejected else "")
            + (f", {part.left:,} left as they are" if part.left else "")
        )
        click.echo(json.dumps(row) if as_json else text)

    settings = _settings(ctx, {})
    jobs = asyncio.run(replayed_partitions(settings, checked_suffix(suffix)))
    asyncio.run(require_no_workers(settings))
    if yes:
        asyncio.run(switch(jobs, say))
        return
    asyncio.run(outlook(jobs, say))
    click.echo("nothing was written: --yes does it", err=True)


@command.command("drop")
@suffix_option
@json_option
@click.pass_context
def drop_command(ctx: click.Context, suffix: str, *, as_json: bool) -> None:
    """Delete the shadow topics of a replay, and nothing else."""
    from barstream.kafka.topics import TopicNames
    from barstream.replay import shadow_topics
    from barstream.replay.request import checked_suffix

    settings = _settings(ctx, {})
    shadows = shadow_topics.ShadowTopics(TopicNames.of(settings), checked_suffix(suffix))
    dropped = asyncio.run(shadow_topics.drop(settings, shadows))
    for topic in dropped:
        click.echo(json.dumps({"type": "dropped", "topic": topic}) if as_json else topic)
    if not as_json:
        click.echo(
            f"{len(dropped)} topics deleted"
            if dropped
            else f"no replay has the suffix {suffix}: nothing was deleted"
        )


def _settings(ctx: click.Context, overrides: dict[str, Any]) -> Settings:
    from barstream.planner import plan_of

    return plan_of(settings_of(ctx, overrides)).settings


def _compare(settings: Settings, suffix: str, processes: int | None, *, as_json: bool) -> int:
    """Print the diff; the exit code."""
    from barstream.log.parallel import run_all
    from barstream.replay.diff import diff, replayed_partitions
    from barstream.replay.request import checked_suffix

    jobs = asyncio.run(replayed_partitions(settings, checked_suffix(suffix)))
    parts = run_all(diff, jobs, processes, lambda _: None)
    return _show(parts, as_json=as_json)


def _show(parts: list[PartitionDiff], *, as_json: bool) -> int:
    from barstream.cli.replay_lines import lines_of, summary_of, table_of

    summary = summary_of(parts)
    if as_json:
        for part in parts:
            for found in part.differences:
                click.echo(json.dumps(found.to_json()))
        click.echo(json.dumps(summary))
    else:
        differences = [found for part in parts for found in part.differences]
        # Another grace moves the close of nearly every bar, and one of a version before has no
        # turnover: other values come first.
        differences.sort(key=lambda found: found.is_close_alone or found.is_turnover_alone)
        for line in lines_of(differences[:_SHOWN]):
            click.echo(line)
        if len(differences) > _SHOWN:
            click.echo(f"... and {len(differences) - _SHOWN:,} more: --json prints them all")
        for line in table_of(summary):
            click.echo(line)
    return 1 if summary["differences"] else 0


def _remarks(done: list[Derived]) -> list[str]:
    """What the user should know of how it went."""
    from barstream.model.period import MINUTE

    finals = sum(one.finals.get(str(MINUTE), 0) for one in done)
    said = [f"{finals:,} minutes of {sum(one.ticks for one in done):,} accepted ticks"]
    if later := sum(one.later for one in done):
        said.append(
            f"{later:,} series start later than asked for: what they rest on before is deleted"
        )
    if unreliable := sum(one.unreliable for one in done):
        said.append(f"{unreliable:,} published close offsets stand out of order and were not used")
    if early := sum(one.early for one in done):
        said.append(
            f"{early:,} heartbeats were appended before their minute was due by this grace and "
            "close nothing; a later one, or the watermark, closes these minutes"
        )
    return said
