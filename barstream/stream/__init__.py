"""A stream of bars that can be lost and found again: pure, without Kafka, clock or sockets.

`cursor` is where a client is, `memory` what every client of a worker may still be given without
Kafka, `position` how a backlog meets what comes next, `client_queue` what waits for one client.
"""
