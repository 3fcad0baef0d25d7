package barstream.bench;

import java.time.Duration;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.errors.SerializationException;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.DeserializationExceptionHandler;
import org.apache.kafka.streams.errors.ErrorHandlerContext;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.EmitStrategy;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.state.WindowStore;

/**
 * One-minute bars by Kafka Streams, as its users write them for speed: one stream thread, windows in
 * RocksDB behind the record cache, keys that stay bytes, serdes written by hand.
 *
 * <p>{@code --emit live} writes what the cache holds with every commit; {@code --emit final} each
 * bar once, when the time of its partition has passed the end of the minute and the grace.
 */
public final class KafkaStreamsBars {
    private static final Duration MINUTE = Duration.ofMinutes(1);

    /**
     * How long emit-final keeps minutes. When it looks for closed windows for the first time, it
     * walks through its cache from 1970 on in steps of half the retention, but of a minute at least:
     * with the default of minute and grace these are 28 million steps for every partition.
     */
    private static final Duration FINAL_RETENTION = Duration.ofDays(1);

    private static final Duration CLOSE_TIMEOUT = Duration.ofSeconds(15);

    private KafkaStreamsBars() {}

    public static void main(String[] arguments) throws InterruptedException {
        Run run = Run.of(arguments);
        boolean isFinal = run.oneOf("emit", "live", "final").equals("final");
        KafkaStreams streams = new KafkaStreams(topology(run, isFinal), configuration(run));
        CountDownLatch told = new CountDownLatch(1);
        AtomicBoolean failed = new AtomicBoolean();
        Run.onTerm(told::countDown);
        streams.setStateListener(
                (now, before) -> {
                    if (now == KafkaStreams.State.RUNNING) {
                        Run.assigned();
                    } else if (now == KafkaStreams.State.PENDING_ERROR) {
                        failed.set(true);
                        told.countDown();
                    }
                });
        streams.setUncaughtExceptionHandler(
                error -> {
                    error.printStackTrace();
                    return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
                });
        streams.start();
        told.await();
        boolean closed = streams.close(CLOSE_TIMEOUT);
        if (failed.get() || !closed) {
            System.exit(1);
        }
        Run.ended();
        System.exit(0);
    }

    private static Topology topology(Run run, boolean isFinal) {
        StreamsBuilder builder = new StreamsBuilder();
        Consumed<byte[], Tick> consumed =
                Consumed.with(Serdes.ByteArray(), tickSerde())
                        .withTimestampExtractor(KafkaStreamsBars::eventTimeMs);
        builder.stream(run.ticks, consumed)
                .groupByKey()
                .windowedBy(TimeWindows.ofSizeAndGrace(MINUTE, Duration.ofMillis(run.graceMs)))
                .emitStrategy(isFinal ? EmitStrategy.onWindowClose() : EmitStrategy.onWindowUpdate())
                .aggregate(
                        Fold::new,
                        (key, tick, fold) -> fold.add(tick),
                        store(isFinal))
                .toStream()
                .map(
                        (window, fold) ->
                                KeyValue.pair(
                                        window.key(),
                                        fold.toBar(window.key(), window.window().start())))
                .to(run.bars, Produced.with(Serdes.ByteArray(), Serdes.ByteArray()));
        return builder.build();
    }

    private static Materialized<byte[], Fold, WindowStore<Bytes, byte[]>> store(boolean isFinal) {
        Materialized<byte[], Fold, WindowStore<Bytes, byte[]>> store = Materialized.as("minutes");
        store.withKeySerde(Serdes.ByteArray())
                .withValueSerde(foldSerde())
                .withCachingEnabled();
        return isFinal ? store.withRetention(FINAL_RETENTION) : store;
    }

    private static Properties configuration(Run run) {
        Properties config = new Properties();
        config.put(StreamsConfig.APPLICATION_ID_CONFIG, run.appId);
        config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, run.bootstrap);
        config.put(StreamsConfig.STATE_DIR_CONFIG, run.state);
        config.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
        config.put(
                StreamsConfig.PROCESSING_GUARANTEE_CONFIG,
                run.exactlyOnce ? StreamsConfig.EXACTLY_ONCE_V2 : StreamsConfig.AT_LEAST_ONCE);
        config.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
        // Room for every open minute of 10,000 series, so that only commits empty the cache.
        config.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 64L << 20);
        config.put(
                StreamsConfig.DESERIALIZATION_EXCEPTION_HANDLER_CLASS_CONFIG, Skip.class.getName());
        // Event times may lie years back: the broker must not take the changelog for outdated.
        config.put(
                StreamsConfig.WINDOW_STORE_CHANGE_LOG_ADDITIONAL_RETENTION_MS_CONFIG,
                Duration.ofDays(36_500).toMillis());
        // By default it looks for closed windows once a second, and only while records come: then
        // the last minute before a pause stays open until the pause ends.
        config.put(
                StreamsConfig.InternalConfig.EMIT_INTERVAL_MS_KSTREAMS_WINDOWED_AGGREGATION, 0L);
        config.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, 10_000);
        config.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 10_000);
        config.put(
                StreamsConfig.mainConsumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG),
                "earliest");
        config.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 256 << 10);
        config.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), 20);
        return config;
    }

    private static long eventTimeMs(ConsumerRecord<Object, Object> record, long partitionTimeMs) {
        return ((Tick) record.value()).timeMs();
    }

    private static Serde<Tick> tickSerde() {
        return Serdes.serdeFrom(
                (topic, tick) -> {
                    throw new UnsupportedOperationException("ticks are read only");
                },
                (topic, body) -> {
                    Tick tick = Tick.read(body);
                    if (tick == null) {
                        throw new SerializationException("no tick");
                    }
                    return tick;
                });
    }

    private static Serde<Fold> foldSerde() {
        return Serdes.serdeFrom(
                (topic, fold) -> fold == null ? null : fold.toBytes(),
                (topic, bytes) -> bytes == null ? null : Fold.fromBytes(bytes));
    }

    /** Counts what cannot be read and goes on. */
    public static final class Skip implements DeserializationExceptionHandler {
        @Override
        public Response handleError(
                ErrorHandlerContext context,
                ConsumerRecord<byte[], byte[]> record,
                Exception error) {
            Run.skipped();
            return Response.resume();
        }

        @Override
        public void configure(Map<String, ?> configuration) {}
    }
}
