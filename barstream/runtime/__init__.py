"""The engine: what happens to a tick partition between Kafka and the local store."""
