"""A worker is cut off from the brokers while it goes on running.

Each worker of such a run lives in a network namespace of its own, on a bridge where the brokers
listen too; packets between a namespace and the ports of brokers are dropped there, in silence.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Final, Self

from tests.chaos.faults.base import Fault, Scene
from tests.chaos.runs.crew import Slot

_TOOLS: Final = ("ip", "iptables")


def lacks_namespaces() -> str | None:
    """What is missing to make networks here."""
    if os.geteuid() != 0:
        return "root, to make network namespaces"
    missing = [tool for tool in _TOOLS if not shutil.which(tool)]
    if missing:
        return f"{' and '.join(missing)} (Debian: iproute2 and iptables)"
    made = subprocess.run(["ip", "link", "add", "bsprobe", "type", "bridge"], check=False)
    subprocess.run(["ip", "link", "del", "bsprobe"], check=False, capture_output=True)
    return None if made.returncode == 0 else "a kernel that lets us make bridges"


class Bridge:
    """A bridge with an address for brokers, and namespaces on it; use as a context manager."""

    def __init__(self, number: int | None = None) -> None:
        number = os.getpid() % 250 if number is None else number
        self.name = f"bsbr{number}"
        self.address = f"10.213.{number}.1"

    def __enter__(self) -> Self:
        _run("ip", "link", "add", self.name, "type", "bridge")
        _run("ip", "addr", "add", f"{self.address}/24", "dev", self.name)
        _run("ip", "link", "set", self.name, "up")
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["ip", "link", "del", self.name], check=False)


class Namespace:
    """One namespace on the bridge that ``address`` lies on."""

    def __init__(self, gateway: str, number: int) -> None:
        network = gateway.rsplit(".", 1)[0]
        part = network.rsplit(".", 1)[1]
        self.name = f"bsns{part}-{number}"
        self.address = f"{network}.{number + 10}"
        outside, inside = f"bso{part}-{number}", f"bsi{part}-{number}"
        _run("ip", "netns", "add", self.name)
        _run("ip", "link", "add", outside, "type", "veth", "peer", "name", inside)
        _run("ip", "link", "set", outside, "master", f"bsbr{part}", "up")
        _run("ip", "link", "set", inside, "netns", self.name)
        self.run("ip", "addr", "add", f"{self.address}/24", "dev", inside)
        self.run("ip", "link", "set", inside, "up")
        self.run("ip", "link", "set", "lo", "up")

    @property
    def prefix(self) -> tuple[str, ...]:
        """Before a command that is to run in it."""
        return ("ip", "netns", "exec", self.name)

    def run(self, *command: str) -> None:
        """Run a command in it."""
        _run(*self.prefix, *command)

    def cut(self, ports: list[int], directions: str) -> None:
        """Drop what goes out to ``ports`` (``requests``), what comes from there, or ``both``."""
        for port in ports:
            if directions != "answers":
                self.run(*_rule("OUTPUT", "--dport", port))
            if directions != "requests":
                self.run(*_rule("INPUT", "--sport", port))

    def mend(self) -> None:
        """Let everything pass again."""
        self.run("iptables", "-F")

    def remove(self) -> None:
        """Take it away; nothing may run in it any more."""
        subprocess.run(["ip", "netns", "del", self.name], check=False)


def _rule(chain: str, side: str, port: int) -> tuple[str, ...]:
    return ("iptables", "-A", chain, "-p", "tcp", side, str(port), "-j", "DROP")


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{' '.join(command)} ended {done.returncode}: {done.stderr}")


class NetworkCut(Fault):
    """No packet passes between a worker and the brokers, or one broker, one way or both."""

    name = "network_cut"
    shortest_s = 2.0
    longest_s = 9.0
    needs = frozenset({"cluster"})
    ends_workers = True

    @classmethod
    def lacks(cls) -> str | None:
        return lacks_namespaces()

    def prepare(self, scene: Scene) -> None:
        assert scene.cluster is not None
        self._places: dict[str, Namespace] = {}
        for number, slot in enumerate(scene.crew.slots):
            place = self._places[slot.name] = Namespace(scene.cluster.host, number)
            slot.prefix, slot.host = place.prefix, place.address

    def begin(self, scene: Scene) -> str:
        assert scene.cluster is not None
        slot = self._slot = self.rng.choice([s for s in scene.crew.slots if s.name in self._places])
        ports = [node.port for node in scene.cluster.nodes]
        if self.rng.random() < 0.3:
            ports = [self.rng.choice(ports)]
        directions = self.rng.choice(("both", "both", "requests", "answers"))
        self._places[slot.name].cut(ports, directions)
        return f"{slot.name} from {len(ports)} broker(s), {directions}"

    def end(self, scene: Scene) -> None:
        self._places[self._slot.name].mend()

    def clean(self, scene: Scene) -> None:
        for slot in scene.crew.slots:
            self._away(slot)

    def _away(self, slot: Slot) -> None:
        if slot.name in getattr(self, "_places", {}):
            slot.wanted = False
            slot.end()
            self._places[slot.name].remove()
