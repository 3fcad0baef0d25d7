"""A whole pipeline over TLS and SCRAM with the ACLs of docs/security.md, and no secret in sight."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from barstream.codecs.ticks.registry_frame import frame
from tests.functional.handwritten_history import DATES, at, load_sessions
from tests.functional.records import Out, send
from tests.kafka_cluster import KafkaCluster as Cluster
from tests.kafka_jars import ROOT, KafkaUnavailableError
from tests.pipeline import Pipeline, free_port, until
from tests.secure_kafka import MECHANISM, add_user, allow, certificate, secured_settings

if TYPE_CHECKING:
    from tests.kafka_cluster import KafkaCluster

pytestmark = pytest.mark.kafka

NAME = "secured"
PASSWORD = "pa55-of-the-broker-Zk93"
REGISTRY_PASSWORD = "pa55-of-the-registry-Wq27"
TOKEN = "token-of-the-web-views-Mv58"
SECRETS = (PASSWORD, REGISTRY_PASSWORD, TOKEN)

#: The ACLs a worker and the loading commands need; the page has the same.
ACLS = (
    ("--topic", NAME, "prefixed", "Create", "Read", "Write", "Describe", "DescribeConfigs"),
    ("--group", NAME, "literal", "Read"),
    ("--transactional-id", NAME, "prefixed", "Write", "Describe"),
)


@dataclass
class Secured:
    """A pipeline as user ``ada``, and everything its programs have said."""

    cluster: KafkaCluster
    made: Pipeline
    said: list[str] = field(default_factory=list)

    def run(self, *arguments: str, **env: str) -> tuple[int, str]:
        """Exit code and output of a command, with settings changed."""
        changed = self.made.env | {f"BARSTREAM_{name}": value for name, value in env.items()}
        done = subprocess.run(
            [sys.executable, "-m", "barstream", *arguments],
            cwd=ROOT, env=changed, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        self.said.append(done.stdout + done.stderr)
        return done.returncode, self.said[-1]

    def ok(self, *arguments: str, **env: str) -> str:
        """Output of a command that must succeed."""
        code, said = self.run(*arguments, **env)
        assert code == 0, said
        return said


@pytest.fixture(scope="module")
def secured(kafka: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    directory = tmp_path_factory.mktemp("secured")
    made = certificate(directory / "right")
    try:
        cluster = Cluster(extra_listener="SASL_SSL", settings=secured_settings(made))
    except KafkaUnavailableError as error:
        pytest.skip(str(error))
    with cluster:
        add_user(cluster, "ada", PASSWORD)
        add_user(cluster, "eve", PASSWORD)
        allow(cluster, "ada", ACLS)
        options = {
            "BOOTSTRAP": cluster.extra_bootstrap,
            "KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA__SASL_MECHANISM": MECHANISM,
            "KAFKA__SASL_USERNAME": "ada",
            "KAFKA__SASL_PASSWORD": PASSWORD,
            "KAFKA__SSL_CAFILE": str(made.cert),
            "KAFKA__REQUEST_TIMEOUT_S": "10",
            "WEB__TOKEN": TOKEN,
            "TOPICS__PARTITIONS": "2",
        }
        whole = Pipeline(cluster.bootstrap, NAME, directory, options)
        yield Secured(cluster, whole)
        for worker in whole.workers:
            worker.kill()


def test_the_whole_pipeline_runs_over_tls_and_scram_with_the_acls_of_the_page(
    secured: Secured, tmp_path: Path
) -> None:
    made = secured.made
    assert '"level": "ok"' in secured.ok("topics", "create", "--json")
    load_sessions(made, tmp_path, [f"S,{date},0,06:30:00,06:50:00" for date in DATES])
    worker = made.worker(program=("barstream", "worker", "--loglevel", "debug"))
    ticks = tmp_path / "ticks.csv"
    lines = [f"{DATES[0]}T06:{31 + n // 6:02}:{n % 6 * 10:02},{100 + n % 7}" for n in range(60)]
    ticks.write_text("\n".join(["time,price", *lines]))
    secured.ok(
        "ticks", "load", str(ticks), "--broker", "B", "--symbol", "S",
        "--map", "time=time", "--map", "price=price",
    )  # fmt: skip
    until(lambda: len(made.finals_of("S")) == 10, 40, "ten minutes final")
    url = f"http://127.0.0.1:{worker.port}"
    assert len(secured.ok("bars", "B", "S", "--url", url, "--json").splitlines()) == 10
    until(lambda: bool(worker.get("/status")["leader"]), 30, "a leader that may send heartbeats")
    secured.ok("verify", "--json")
    secured.ok("explain", "B", "S", f"{DATES[0]}T06:31", "--json")
    secured.ok("topics", "check")
    for path in ("/table", "/table/", "/graph", "/router/series/", "/stats", "/production/"):
        assert worker.get(path)["error"] == f"GET {path}: Not Found"
    assert worker.stop() == 0
    log = worker.log.read_text(errors="replace")
    assert "Authorization" not in log
    secured.said.append(log)


def test_a_user_without_acls_is_told_so(secured: Secured) -> None:
    for arguments in (("topics", "check"), ("verify",), ("explain", "B", "S", "2024-01-01")):
        code, said = secured.run(*arguments, KAFKA__SASL_USERNAME="eve")
        assert code in (1, 2), said
        assert "Traceback" not in said
        assert re.search("refused|required|may not|missing|does not exist", said), said


@pytest.mark.parametrize("arguments", [("topics", "check"), ("worker",), ("verify",)])
def test_a_wrong_password_an_unknown_authority_and_another_name_are_told_apart(
    secured: Secured, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    data = {"DATA_DIR": str(tmp_path / "data"), "WEB_PORT": str(free_port())}
    code, said = secured.run(*arguments, KAFKA__SASL_PASSWORD="wrong-pa55word", **data)
    assert (code, "Traceback" in said) == (2, False), said
    assert "refused" in said
    assert "wrong-pa55word" not in said
    code, said = secured.run(*arguments, KAFKA__SSL_CAFILE="", **data)
    assert (code, "Traceback" in said) == (2, False), said
    assert "certificate verify failed" in said


def test_a_certificate_of_another_name_is_refused_unless_the_check_is_off(
    new_kafka: Callable[..., KafkaCluster], secured: Secured, tmp_path: Path
) -> None:
    other = certificate(tmp_path / "other", "DNS:kafka.example.org")
    cluster = new_kafka(extra_listener="SASL_SSL", settings=secured_settings(other))
    add_user(cluster, "ada", PASSWORD)
    allow(cluster, "ada", ACLS)
    changed = {"BOOTSTRAP": cluster.extra_bootstrap, "KAFKA__SSL_CAFILE": str(other.cert)}
    code, said = secured.run("topics", "check", **changed)
    assert (code, "Traceback" in said) == (2, False), said
    assert "IP address mismatch" in said
    assert "127.0.0.1" in said
    code, said = secured.run("topics", "create", KAFKA__SSL_CHECK_HOSTNAME="false", **changed)
    assert code == 0, said


def test_no_secret_is_in_anything_that_was_said(secured: Secured) -> None:
    # after the tests above, and with what provokes more: a registry that is not there, settings
    # that are wrong
    made = secured.made
    url = f"http://reader:{REGISTRY_PASSWORD}@127.0.0.1:{free_port()}"
    registry = {"TICKS__REGISTRY_URL": url}
    send(made, [Out(b"B\0S", frame(7, at("06:45:00", 1.0).value))])
    lost = made.worker(
        directory="w1",
        wait=False,
        program=("barstream", "worker", "--loglevel", "debug"),
        extra_env={"BARSTREAM_TICKS__REGISTRY_URL": url},
    )
    until(lambda: lost.process.poll() is not None, 60, "the worker without registry to end")
    secured.said.append(lost.log.read_text(errors="replace"))
    assert lost.process.returncode == 1
    assert "registry" in secured.said[-1]
    secured.run("explain", "B", "S", f"{DATES[0]}T06:31", **registry)
    secured.run("verify", **registry)
    secured.ok("config", **registry)
    secured.ok("config", "--json", **registry)
    secured.run("config", WEB__TOKEN="short-secret-7")
    secured.run("config", KAFKA__SECURITY_PROTOCOL="PLAINTEXT")
    secured.run("config", TICKS__REGISTRY_URL=f"ftp://reader:{REGISTRY_PASSWORD}@host")
    worker = made.worker(directory="w2")
    for path in ("/status", "/health/ready", "/series", "/bars?timeframe=1m&limit=1"):
        secured.said.append(repr(worker.get(path)))
    secured.said.append(repr(worker.get("/nothing")))
    assert worker.stop() == 0
    secured.said.append(worker.log.read_text(errors="replace"))
    assert len(secured.said) > 10
    everything = "\n".join(secured.said)
    for secret in (*SECRETS, "short-secret-7"):
        assert secret not in everything, everything[max(0, everything.find(secret) - 300) :][:500]
