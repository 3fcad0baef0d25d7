"""The private names the transport leans on, so that an upgrade fails here and loudly."""

from __future__ import annotations

import inspect

import aiokafka
import faust
from aiokafka import admin, codec
from aiokafka.consumer import fetcher, group_coordinator, subscription_state
from aiokafka.producer import transaction_manager
from aiokafka.protocol.group import LeaveGroupRequest
from faust.assignor import partition_assignor
from faust.transport import consumer
from faust.transport.drivers import aiokafka as driver
from faust.types.tuples import ConsumerMessage

from barstream.kafka import decompression


def test_the_versions_are_the_ones_the_transport_was_written_for() -> None:
    assert faust.__version__ == "0.15.3"
    assert aiokafka.__version__ == "0.14.0"


def test_the_admin_client_sends_what_it_has_no_method_for_by_that_name() -> None:
    assert "self._client.send(node_id, " in inspect.getsource(admin.AIOKafkaAdminClient)
    anywhere = inspect.getsource(admin.AIOKafkaAdminClient._send_request)
    assert "node_id = self._client.get_random_node()" in anywhere
    assert list(inspect.signature(LeaveGroupRequest).parameters) == ["group", "member_id"]


def test_the_fetcher_makes_partition_records_by_that_name() -> None:
    assert "PartitionRecords(" in inspect.getsource(fetcher.Fetcher._proc_fetch_request)
    source = inspect.getsource(fetcher.PartitionRecords)
    for name in (
        "_unpack_records", "_value_deserializer", "next_fetch_offset", "_consume_aborted_up_to",
        "_contains_abort_marker", "_aborted_producers", "_check_crcs", "_isolation_level",
    ):  # fmt: skip
        assert name in source


def test_the_consumer_keeps_its_options_until_it_starts() -> None:
    made = inspect.getsource(aiokafka.AIOKafkaConsumer.__init__)
    used = inspect.getsource(aiokafka.AIOKafkaConsumer.start)
    for name in ("_isolation_level", "_fetch_max_wait_ms", "_value_deserializer"):
        assert f"self.{name} =" in made
        assert f"self.{name}" in used


def test_fausts_consumer_calls_what_the_driver_overrides() -> None:
    assert "self._new_consumer_thread()" in inspect.getsource(
        consumer.ThreadDelegateConsumer.__init__
    )
    assert "self._create_worker_consumer(" in inspect.getsource(
        driver.AIOKafkaConsumerThread._create_consumer
    )
    assert "self._new_offset(" in inspect.getsource(consumer.Consumer._filter_committable_offsets)
    assert inspect.iscoroutinefunction(consumer.Consumer._add_gap)
    assert inspect.iscoroutinefunction(consumer.Consumer.perform_seek)
    for name in ("_acked", "_acked_index", "_read_offset", "_committed_offset"):
        assert f"self.{name} = " in inspect.getsource(consumer.Consumer.__init__)
    drained = inspect.getsource(consumer.Consumer._drain_messages)
    for method in ("__getitem__", "__setitem__"):
        assert f"self._read_offset.{method}" in drained
    assert "consumer.ack(self)" in inspect.getsource(ConsumerMessage.on_final_ack)


def test_every_join_makes_an_assignment_object_of_its_own() -> None:
    made = inspect.getsource(subscription_state.Subscription._assign)
    assert "self._assignment = Assignment(topic_partitions)" in made
    assert isinstance(subscription_state.Assignment.tps, property)


def test_the_group_coordinator_tells_its_errors_by_these_names() -> None:
    source = inspect.getsource(group_coordinator.GroupCoordinator)
    assert "self._coordination_task = create_task(" in source
    assert "await self._push_error_to_user(exc)" in source
    # a second beginning of the heartbeats is none
    assert "await self._on_join_complete(" in source
    begins = inspect.getsource(group_coordinator.GroupCoordinator._start_heartbeat_task)
    assert "if self._heartbeat_task is None:" in begins
    for asks in (source, inspect.getsource(group_coordinator.CoordinatorGroupRebalance)):
        assert "_send_req(request)" in asks
    assert "assert metadata.url == str(self._url)" in inspect.getsource(
        partition_assignor.PartitionAssignor.on_assignment
    )


def test_the_consumer_makes_its_fetcher_by_that_name() -> None:
    assert "self._fetcher = Fetcher(" in inspect.getsource(aiokafka.AIOKafkaConsumer.start)
    assert inspect.iscoroutinefunction(fetcher.Fetcher._proc_fetch_request)
    assert "return needs_wakeup" in inspect.getsource(fetcher.Fetcher._proc_fetch_request)


def test_a_producer_tells_that_it_was_fenced() -> None:
    source = inspect.getsource(transaction_manager.TransactionManager)
    for name in ("def is_fatal_error", "_transaction_waiter", "def fatal_error"):
        assert name in source


def test_batches_are_unpacked_by_these_names() -> None:
    for module in decompression._modules():
        names = {name for name in vars(module) if name.endswith("_decode")}
        assert {"gzip_decode", "snappy_decode", "lz4_decode"} <= names
        assert names <= decompression._DECODERS.keys(), "what is not replaced is not bounded"
    assert callable(codec._detect_xerial_stream)
