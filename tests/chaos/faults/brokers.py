"""One broker of three is killed, stopped, frozen, lost, or has a full disk; all are upgraded."""

from __future__ import annotations

import time

from tests.chaos.faults.base import Fault, Scene
from tests.chaos.faults.disk import Tmpfs, lacks_mount
from tests.kafka_cluster import KafkaCluster
from tests.kafka_jars import KAFKA_VERSION
from tests.pipeline import until

#: Whose directory is a small file system of its own.
SMALL_NODE = 2
SMALL_MIB = 768


class BrokerFault(Fault):
    """What they share: a cluster of their own, and a broker that is there again in the end."""

    needs = frozenset({"cluster"})
    # without two of three nothing goes on, and nothing is asked of it
    thing = "broker"
    ends_workers = True
    shortest_s = 1.0
    longest_s = 5.0

    def begin(self, scene: Scene) -> str:
        self.cluster = _cluster(scene)
        self.node = self.rng.randrange(len(self.cluster.nodes))
        self.harm()
        return f"broker {self.node + 1} of {len(self.cluster.nodes)}"

    def harm(self) -> None:
        """Do it to ``self.node``."""
        raise NotImplementedError

    def end(self, scene: Scene) -> None:
        self.cluster.restart(self.node)


class BrokerKilled(BrokerFault):
    """``kill -9`` of a broker, and back."""

    name = "broker_killed"

    def harm(self) -> None:
        self.cluster.kill(self.node)


class BrokerStopped(BrokerFault):
    """A broker is restarted in good order."""

    name = "broker_restarted"

    def harm(self) -> None:
        self.cluster.stop(self.node)


class BrokerLost(BrokerFault):
    """A broker is gone for the rest of the run: two of three must do."""

    name = "broker_lost"

    def harm(self) -> None:
        self.cluster.kill(self.node)

    def end(self, scene: Scene) -> None:
        """It stays away until the verdict."""

    def clean(self, scene: Scene) -> None:
        if hasattr(self, "cluster"):
            self.cluster.restart(self.node)


class AllBrokersKilled(BrokerFault):
    """All brokers are gone while a minute ends: nobody can send, and who can again holds first."""

    name = "brokers_all_killed"
    drawn = False
    needs = frozenset({"cluster", "live"})
    shortest_s = 25.0
    longest_s = 25.0

    def prepare(self, scene: Scene) -> None:
        scene.made.options["HEARTBEATS__RESUME_HOLD_S"] = "8"

    def begin(self, scene: Scene) -> str:
        until(lambda: time.time() % 60 > 50, 65, "a minute is about to end")
        return super().begin(scene)

    def harm(self) -> None:
        for node in range(len(self.cluster.nodes)):
            self.cluster.kill(node)

    def end(self, scene: Scene) -> None:
        self.cluster.start()


class BrokerFrozen(BrokerFault):
    """A broker that answers nothing while its connections stay open."""

    name = "broker_frozen"
    shortest_s = 4.0
    longest_s = 8.0

    def harm(self) -> None:
        self.cluster.freeze(self.node)

    def end(self, scene: Scene) -> None:
        self.cluster.thaw(self.node)


class BrokerDiskFull(BrokerFault):
    """The disk of a broker is full: Kafka gives up; later there is room and it is started."""

    name = "broker_disk_full"
    shortest_s = 3.0

    @classmethod
    def lacks(cls) -> str | None:
        return lacks_mount()

    def begin(self, scene: Scene) -> str:
        self.cluster, self.node = _cluster(scene), SMALL_NODE
        self._disk = Tmpfs(self.cluster.nodes[self.node].directory)
        taken = self._disk.fill()
        return f"broker {self.node + 1}, {taken >> 20} MiB taken"

    def end(self, scene: Scene) -> None:
        self._disk.free()
        if self.cluster.nodes[self.node].running:
            time.sleep(1)
        self.cluster.restart(self.node)


class BrokersUpgraded(Fault):
    """Brokers go to today's version one by one, perhaps one of them back once; then, for good, the
    feature levels are raised."""

    name = "brokers_upgraded"
    family = "upgrade"
    needs = frozenset({"cluster"})
    thing = "broker"

    def begin(self, scene: Scene) -> str:
        cluster = _cluster(scene)
        before = cluster.nodes[0].version
        order = self.rng.sample(range(len(cluster.nodes)), len(cluster.nodes))
        back = self.rng.random() < 0.3
        if back:
            cluster.upgrade(order[0], KAFKA_VERSION)
            cluster.upgrade(order[0], before)
        for node in order:
            cluster.upgrade(node, KAFKA_VERSION)
            time.sleep(self.rng.uniform(0, 2))
        went = ", ".join(str(node + 1) for node in order)
        return f"{before} to {KAFKA_VERSION}, brokers {went}" + (
            ", the first back once" if back else ""
        )

    def end(self, scene: Scene) -> None:
        _cluster(scene).finalize(KAFKA_VERSION)


def _cluster(scene: Scene) -> KafkaCluster:
    if scene.cluster is None:
        raise ValueError("this fault needs a cluster of its own: scenario.cluster")
    return scene.cluster
