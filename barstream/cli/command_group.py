"""A click group that imports a command when it is run, and turns our errors into messages."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
from collections.abc import Mapping
from typing import IO, Any

import click

from barstream.errors import BarstreamError, MissingPieceError


class Failure(click.ClickException):
    """A `BarstreamError` on its way to stderr: the message without a traceback."""

    def __init__(self, error: BarstreamError) -> None:
        super().__init__(str(error))
        self.exit_code = error.exit_code

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"{click.style('barstream:', fg='red')} {self.message}", file=file, err=True)


class LazyGroup(click.Group):
    """Commands by name and ``module:attribute``; ``--help`` imports none of them.

    A command whose module is absent is not listed; its absence troubles no other command.
    """

    def __init__(
        self, *args: Any, commands: Mapping[str, str], summaries: Mapping[str, str], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._targets = commands
        self._summaries = summaries

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - as click calls it
        return sorted(name for name, target in self._targets.items() if _exists(target))

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - as click calls it
        cmd_name: str,
    ) -> click.Command | None:
        target = self._targets.get(cmd_name)
        return None if target is None else _load(cmd_name, target)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, self._summaries.get(name, "")) for name in self.list_commands(ctx)]
            )

    def invoke(self, ctx: click.Context) -> Any:
        # what the clients would say of a broker that is away, our own message says better; a
        # worker says what is to be heard of them
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
        logging.getLogger("asyncio").addFilter(_is_no_client_left_open)
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as error:
            if error.ctx is not None and _takes_names(error.ctx.command):
                error.message += " (a name that begins with - stands after --: FX -- -X)"
            raise
        except BarstreamError as error:
            raise Failure(error) from error
        except Exception as error:
            if not _is_of_kafka(error):
                raise
            # 1 would be the answer of `verify` and `replay` that something differs
            raise Failure(
                BarstreamError(
                    f"the brokers did not do what was asked of them: {error!r}; look at them, "
                    "then run this again"
                )
            ) from error


def _is_no_client_left_open(record: logging.LogRecord) -> bool:
    """A client that Ctrl-C kept from being closed goes with the process."""
    return not str(record.msg).startswith("Unclosed AIOKafka")


def _takes_names(command: click.Command) -> bool:
    """Whether a series may be among the arguments of a command."""
    arguments = [each for each in command.params if isinstance(each, click.Argument)]
    return any(each.name == "symbol" for each in arguments)


def _is_of_kafka(error: Exception) -> bool:
    """Whether a client of Kafka raised it; none did where none was imported."""
    errors = sys.modules.get("aiokafka.errors")
    return errors is not None and isinstance(error, errors.KafkaError)


def _exists(target: str) -> bool:
    return importlib.util.find_spec(target.partition(":")[0]) is not None


def _load(name: str, target: str) -> click.Command:
    module_name, _, attribute = target.partition(":")
    try:
        command = getattr(importlib.import_module(module_name), attribute)
    except ModuleNotFoundError as error:
        if error.name == module_name:
            raise MissingPieceError(
                f"this version of barstream has no `{name}` command yet"
            ) from error
        raise MissingPieceError(
            f"`barstream {name}` needs the module {error.name}, which is not installed: install "
            "barstream again with all its dependencies"
        ) from error
    if not isinstance(command, click.Command):
        raise TypeError(f"{target} must be a click command, found {type(command).__name__}")
    return command
