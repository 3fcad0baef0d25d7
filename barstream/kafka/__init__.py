"""Faust's Kafka transport, with ticks travelling as columns."""
