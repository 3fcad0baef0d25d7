"""Reads that go wrong: a client that reads nothing, a view with a defect."""

from __future__ import annotations

import socket

from tests.chaos.faults.base import Fault, Scene

_REQUESTS = 400


class StuckClient(Fault):
    """Hundreds of reads on one connection, and not a byte of the answers is taken."""

    name = "stuck_client"
    drawn = False
    shortest_s = 25.0
    longest_s = 25.0

    def begin(self, scene: Scene) -> str:
        slot = self.some(scene)
        if slot.worker is None:
            return "nobody is there to be asked"
        worker = slot.worker
        self._socket = socket.socket()
        # a small window: what is not read waits at the worker and not in the kernel
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.connect((worker.host, worker.port))
        request = f"GET /bars?limit=1000 HTTP/1.1\r\nHost: {worker.host}\r\n\r\n"
        self._socket.sendall(request.encode() * _REQUESTS)
        return slot.name

    def end(self, scene: Scene) -> None:
        if hasattr(self, "_socket"):
            self._socket.close()


class Defect(Fault):
    """A view raises what nobody expects: reads are answered with 500, bars go on."""

    name = "defect"
    drawn = False

    def prepare(self, scene: Scene) -> None:
        for slot in scene.crew.slots:
            slot.program = ("tests.chaos.faults.defective",)

    def begin(self, scene: Scene) -> str:
        return "all workers, from the beginning"
