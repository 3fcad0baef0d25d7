"""Gap-free market-data bars from a Kafka topic of ticks."""
