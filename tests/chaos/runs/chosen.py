"""Seeds whose faults are not drawn: what comes only on purpose, so that each alert is seen."""

from __future__ import annotations

from typing import Final

CHOSEN: Final[dict[int, tuple[str, ...]]] = {
    9005: ("topic_recreated",),
    9026: ("disk_lies",),
    9073: ("disk_cuts",),
    9029: ("schedule_withdrawn",),
    9030: ("schedule_never_loaded",),
    9031: ("schedule_gone",),
    9033: ("leader_clock_wrong",),  # fast
    9039: ("leader_clock_wrong",),  # slow
    9041: ("leader_clock_wrong_long",),
    9046: ("leader_clock_fast",),
    9047: ("outage",),
    9050: ("heartbeats_without_append_time",),
    9060: ("hanging_transaction",),
    9063: ("stuck_client",),
    9071: ("freeze_leader",),  # live
    9113: ("freeze_leader_at_minute",),
    9218: ("network_cut",),  # of one worker for eight seconds, and of the other: one of them leads
    9803: ("network_cut",),
    9178: ("brokers_all_killed",),  # with standbys
    9163: ("defect",),
    9133: ("broker_frozen",),  # with standbys
}
