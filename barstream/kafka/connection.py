"""How clients reach Kafka: addresses and security from the settings, for aiokafka and Faust."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError, SaslAuthenticationFailed

from barstream.broker.embedded_broker import ASK_VERSIONS
from barstream.config import KafkaSettings, Settings
from barstream.errors import BarstreamError, ConfigError
from barstream.kafka import decompression
from barstream.kafka.admin import AdminClient
from barstream.kafka.troubles import brief

_CAUSE_WITHIN_S: Final = 5.0
#: A broker that answers at all, and lets us in, does so within this.
_LET_IN_WITHIN_S: Final = 2.0
#: A connection that was lost on the way is asked for again after a second.
_CONNECTED_WITHIN_S: Final = 1.3
#: A broker answers within milliseconds; one that collects garbage or starts, within seconds.
_ANSWERED_WITHIN_S: Final = 5.0


class SilentError(Exception):
    """Connections are taken at these addresses, and nothing is said."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self.addresses = addresses


class BrokerUnreachableError(BarstreamError):
    """No broker answered in the time allowed: check ``bootstrap`` and that Kafka runs."""


class AccessRefusedError(BarstreamError):
    """The broker answers but does not let us in: mend user, password, certificate or ACL."""


def client_options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments for any aiokafka client: addresses and security.

    Raises:
        ConfigError: a certificate or key cannot be used.
    """
    kafka = settings.kafka
    # one limit for the process, and nothing is read without these options
    decompression.allow(settings.ticks.max_batch_mib << 20)
    options: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap.split(","),
        "security_protocol": kafka.security_protocol,
    }
    context = ssl_context(kafka)
    if context is not None:
        options["ssl_context"] = context
    if kafka.security_protocol.startswith("SASL_"):
        options["sasl_mechanism"] = kafka.sasl_mechanism
        options["sasl_plain_username"] = kafka.sasl_username
        options["sasl_plain_password"] = password(kafka)
    return options


def ssl_context(kafka: KafkaSettings) -> ssl.SSLContext | None:
    """The TLS context of the settings; None for the protocols without TLS.

    Raises:
        ConfigError: a certificate or key cannot be used.
    """
    if not kafka.security_protocol.endswith("SSL"):
        return None
    try:
        context = ssl.create_default_context(cafile=kafka.ssl_cafile)
        if kafka.ssl_certfile is not None:
            # Without a password callback OpenSSL would ask on the terminal for an encrypted key.
            context.load_cert_chain(kafka.ssl_certfile, kafka.ssl_keyfile, password=lambda: b"")
    except (OSError, ssl.SSLError) as error:
        files = [kafka.ssl_cafile, kafka.ssl_certfile, kafka.ssl_keyfile]
        named = ", ".join(str(path) for path in files if path is not None)
        raise ConfigError(
            f"the TLS files of [kafka] must be readable PEM, the key unencrypted ({named}): {error}"
        ) from error
    context.check_hostname = kafka.ssl_check_hostname
    return context


@asynccontextmanager
async def admin_client(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    """A started admin client, closed at the end.

    Raises:
        BrokerUnreachableError: no broker answers.
        AccessRefusedError: one does, and refuses.
    """
    await reach(settings)
    timeout_s = settings.kafka.request_timeout_s
    admin = AdminClient(**client_options(settings), request_timeout_ms=round(timeout_s * 1000))
    try:
        try:
            with _unheard():
                async with asyncio.timeout(timeout_s):
                    await admin.start()
        except (KafkaError, OSError, TimeoutError) as error:
            with _unheard():
                cause = await _cause(settings)
            raise explained(cause or error, settings) from error
        yield admin
    finally:
        await admin.close()


@asynccontextmanager
async def reaching(settings: Settings) -> AsyncIterator[None]:
    """Reading from Kafka inside: what fails for want of a broker says what to do.

    Raises:
        BrokerUnreachableError: no broker answers, or none does any more.
        AccessRefusedError: one does, and refuses.
    """
    async with admin_client(settings):
        pass  # the first connection tells a wrong password from a broker that is away
    try:
        yield
    except (KafkaError, OSError) as error:
        raise explained(error, settings, had_answered=True) from error


async def reach(settings: Settings) -> None:
    """Look whether anything answers where the brokers should be; says so at once if not.

    The clients would go on trying, each for as long as it likes.

    Raises:
        BrokerUnreachableError: nothing does, at none of the addresses.
        ConfigError: a certificate or key cannot be used.
    """
    loop, context = asyncio.get_running_loop(), ssl_context(settings.kafka)
    began, silent = loop.time(), []

    def connected(address: str) -> None:
        """What takes a connection is given more time: it may be a broker that is busy."""
        silent.append(address)
        limit.reschedule(began + _ANSWERED_WITHIN_S)

    trials = {
        asyncio.create_task(_ask(address, context, connected))
        for address in settings.bootstrap.split(",")
    }
    error: Exception = TimeoutError()
    try:
        async with asyncio.timeout(_CONNECTED_WITHIN_S) as limit:
            for trial in asyncio.as_completed(trials):
                try:
                    await trial
                except OSError as failed:
                    error = failed
                else:
                    return
    except TimeoutError:
        pass
    finally:
        for task in trials:
            task.cancel()
        await asyncio.gather(*trials, return_exceptions=True)
    raise explained(SilentError(silent) if silent else error, settings) from error


async def _ask(
    address: str, context: ssl.SSLContext | None, connected: Callable[[str], None]
) -> None:
    """Connect and have something said, whatever it is: the clients judge what."""
    host, _, port = address.rpartition(":")
    found = await _resolved(host.strip("[]"), int(port))
    error: OSError = TimeoutError()
    for family, kind, protocol, _, place in found:
        with socket.socket(family, kind, protocol) as trial:
            trial.setblocking(False)
            loop = asyncio.get_running_loop()
            try:
                await loop.sock_connect(trial, place)
                connected(address)
                await loop.sock_sendall(trial, _first_words(host, context))
                await loop.sock_recv(trial, 1)
            except OSError as failed:
                error = failed
            else:
                return
    raise error


def _first_words(host: str, context: ssl.SSLContext | None) -> bytes:
    """What a client says first: a request that needs no password, or the hello of TLS."""
    if context is None:
        return ASK_VERSIONS
    hello = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), hello, server_hostname=host).do_handshake()
    return hello.read()


async def _resolved(host: str, port: int) -> list[Any]:
    """What a name stands for.

    Asked in a thread that nobody waits for, as asyncio does at the end for those of its own: a
    resolver that is away takes half a minute to say so.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[Any]] = loop.create_future()

    def tell(found: list[Any] | OSError) -> None:
        if answer.done():
            return
        if isinstance(found, OSError):
            answer.set_exception(found)
        else:
            answer.set_result(found)

    def ask() -> None:
        found: list[Any] | OSError
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            found = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, found)

    threading.Thread(target=ask, daemon=True, name=f"address of {host}").start()
    return await answer


@contextmanager
def _unheard() -> Iterator[None]:
    """What the clients log inside is not shown: the error raised says it better."""
    clients = logging.getLogger("aiokafka")
    level = clients.level
    if clients.isEnabledFor(logging.DEBUG):
        yield
        return
    clients.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        clients.setLevel(level)


def explained(
    error: Exception, settings: Settings, *, had_answered: bool = False
) -> BarstreamError:
    """A failure to talk to the broker, as an error that says what to do.

    Args:
        error: of a client.
        settings: by which it was reached.
        had_answered: whether a broker did before.
    """
    where, protocol = settings.bootstrap, settings.kafka.security_protocol
    refused = isinstance(error, (ssl.SSLError, SaslAuthenticationFailed))
    if refused or "Authorization" in type(error).__name__:
        return AccessRefusedError(
            f"the broker at {where} and barstream must accept each other as [kafka] says "
            f"(security_protocol {protocol}), and one refused: {error}"
        )
    if isinstance(error, SilentError):
        found = ", ".join(error.addresses)
        return BrokerUnreachableError(
            f"a Kafka broker must answer at {where} ({protocol}); something accepts connections "
            f"at {found}, but has not answered for {_ANSWERED_WITHIN_S:g} s: if it is a broker "
            "that is still starting, try again in a while; if it is something else, set "
            "BARSTREAM_BOOTSTRAP to your broker"
        )
    if had_answered:
        return BrokerUnreachableError(
            f"the brokers at {where} must go on answering; one did, and then a request failed "
            f"({brief(error)}): look at the brokers, then do it again"
        )
    return BrokerUnreachableError(
        f"a Kafka broker must answer at {where} ({protocol}); none does ({brief(error)}): start "
        "one (`barstream broker`), or set BARSTREAM_BOOTSTRAP to yours; a broker that wants TLS or "
        "a password also looks like this without [kafka] security_protocol"
    )


async def _cause(settings: Settings) -> Exception | None:
    """Why the first broker cannot be connected to; the clients log that and do not raise it."""
    options = client_options(settings)
    return await _refusal(options["bootstrap_servers"][0], options, _CAUSE_WITHIN_S)


async def answers(address: str, options: Mapping[str, Any]) -> bool:
    """Whether the broker at ``host:port`` answers a request, and lets us in."""
    return await _refusal(address, options, _LET_IN_WITHIN_S) is None


async def _refusal(address: str, options: Mapping[str, Any], within_s: float) -> Exception | None:
    """Why a broker cannot be connected to; None: it can."""
    host, _, port = address.rpartition(":")
    rest = {name: value for name, value in options.items() if name != "bootstrap_servers"}
    try:
        async with asyncio.timeout(within_s):
            connection = await create_conn(host.strip("[]"), int(port), **rest)
    except (KafkaError, OSError, TimeoutError) as error:
        return error
    connection.close()
    return None


def password(kafka: KafkaSettings) -> str | None:
    """The one of the settings; None: there is none."""
    return None if kafka.sasl_password is None else kafka.sasl_password.get_secret_value()
