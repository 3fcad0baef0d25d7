"""Heartbeats on their way to Kafka: who sends them, when, from where on, and what came of it.

What is due is planned in `barstream.rules.heartbeat_plan`; what wakes the leader is declared in
`agents.heartbeats`.
"""
