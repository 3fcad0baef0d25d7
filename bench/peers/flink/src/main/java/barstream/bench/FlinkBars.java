package barstream.bench;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Collection;
import java.util.Comparator;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.CoreOptions;
import org.apache.flink.configuration.ExternalizedCheckpointRetention;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.configuration.PipelineOptions;
import org.apache.flink.configuration.RestartStrategyOptions;
import org.apache.flink.configuration.StateBackendOptions;
import org.apache.flink.configuration.StateRecoveryOptions;
import org.apache.flink.configuration.TaskManagerOptions;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.core.execution.CheckpointingMode;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.core.execution.SavepointFormatType;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.windowing.ProcessWindowFunction;
import org.apache.flink.streaming.api.windowing.assigners.TumblingEventTimeWindows;
import org.apache.flink.streaming.api.windowing.windows.TimeWindow;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.OffsetResetStrategy;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/**
 * One-minute bars by Flink on a MiniCluster of one slot: tumbling windows of event time in RocksDB,
 * behind a watermark that is out of order by the grace; each bar once.
 *
 * <p>SIGTERM stops it with a savepoint, and it begins with the newest savepoint or checkpoint of its
 * directory, if there is one.
 */
public final class FlinkBars {
    private static final Duration MINUTE = Duration.ofMinutes(1);
    private static final Duration CHECKPOINT_INTERVAL = Duration.ofSeconds(1);
    private static final Duration WATERMARK_INTERVAL = Duration.ofMillis(50);
    private static final long STOP_TIMEOUT_S = 15;

    private FlinkBars() {}

    public static void main(String[] arguments) throws Exception {
        Run run = Run.of(arguments);
        Path state = Path.of(run.state).toAbsolutePath();
        Optional<Path> snapshot = newestSnapshot(state);
        CountDownLatch told = new CountDownLatch(1);
        Run.onTerm(told::countDown);

        StreamExecutionEnvironment env =
                StreamExecutionEnvironment.createLocalEnvironment(
                        1, configuration(state, snapshot));
        env.fromSource(
                        source(run, snapshot.isPresent()),
                        WatermarkStrategy.<Tick>forBoundedOutOfOrderness(
                                        Duration.ofMillis(run.graceMs))
                                .withTimestampAssigner((tick, kafkaTimeMs) -> tick.timeMs()),
                        "ticks")
                .uid("ticks")
                .keyBy(tick -> tick.series, Types.STRING)
                .window(TumblingEventTimeWindows.of(MINUTE))
                .aggregate(
                        new Folds(),
                        new Bars(),
                        TypeInformation.of(Fold.class),
                        TypeInformation.of(Fold.class),
                        BAR)
                .uid("minutes")
                .sinkTo(sink(run))
                .uid("bars");

        JobClient job = env.executeAsync("bars");
        CompletableFuture<?> result = job.getJobExecutionResult();
        result.whenComplete((done, error) -> told.countDown());
        told.await();
        if (result.isDone()) {
            result.get(); // throws what ended it: a job without an end has failed
            throw new IllegalStateException("the job must run until SIGTERM, and has ended");
        }
        job.stopWithSavepoint(
                        false, state.resolve("savepoints").toUri().toString(),
                        SavepointFormatType.NATIVE)
                .get(STOP_TIMEOUT_S, TimeUnit.SECONDS);
        result.get(STOP_TIMEOUT_S, TimeUnit.SECONDS);
        Run.ended();
        System.exit(0);
    }

    private static Configuration configuration(Path state, Optional<Path> snapshot) {
        Configuration config = new Configuration();
        config.set(TaskManagerOptions.NUM_TASK_SLOTS, 1);
        // What RocksDB takes for its cache and its write buffers.
        config.set(TaskManagerOptions.MANAGED_MEMORY_SIZE, MemorySize.ofMebiBytes(256));
        config.set(CoreOptions.TMP_DIRS, state.resolve("tmp").toString());
        config.set(StateBackendOptions.STATE_BACKEND, "rocksdb");
        config.set(CheckpointingOptions.INCREMENTAL_CHECKPOINTS, true);
        config.set(CheckpointingOptions.CHECKPOINT_STORAGE, "filesystem");
        config.set(
                CheckpointingOptions.CHECKPOINTS_DIRECTORY,
                state.resolve("checkpoints").toUri().toString());
        config.set(CheckpointingOptions.CHECKPOINTING_INTERVAL, CHECKPOINT_INTERVAL);
        config.set(
                CheckpointingOptions.CHECKPOINTING_CONSISTENCY_MODE,
                CheckpointingMode.EXACTLY_ONCE);
        config.set(
                CheckpointingOptions.EXTERNALIZED_CHECKPOINT_RETENTION,
                ExternalizedCheckpointRetention.RETAIN_ON_CANCELLATION);
        config.set(PipelineOptions.OBJECT_REUSE, true);
        // Fails at the start where a type would go through Kryo.
        config.set(PipelineOptions.GENERIC_TYPES, false);
        config.set(PipelineOptions.AUTO_WATERMARK_INTERVAL, WATERMARK_INTERVAL);
        // A failure is to be seen, and not to be measured.
        config.set(RestartStrategyOptions.RESTART_STRATEGY, "none");
        snapshot.ifPresent(
                path -> config.set(StateRecoveryOptions.SAVEPOINT_PATH, path.toUri().toString()));
        return config;
    }

    private static KafkaSource<Tick> source(Run run, boolean restored) {
        return KafkaSource.<Tick>builder()
                .setBootstrapServers(run.bootstrap)
                .setTopics(run.ticks)
                .setGroupId(run.appId)
                .setClientIdPrefix(run.appId)
                .setStartingOffsets(new Earliest())
                .setDeserializer(new Ticks(restored))
                .build();
    }

    private static KafkaSink<Tuple2<byte[], byte[]>> sink(Run run) {
        return KafkaSink.<Tuple2<byte[], byte[]>>builder()
                .setBootstrapServers(run.bootstrap)
                .setRecordSerializer(new Output(run.bars))
                .setDeliveryGuarantee(
                        run.exactlyOnce
                                ? DeliveryGuarantee.EXACTLY_ONCE
                                : DeliveryGuarantee.AT_LEAST_ONCE)
                .setTransactionalIdPrefix(run.appId)
                // At most what brokers allow, 15 minutes; the connector's own default is an hour.
                .setProperty(ProducerConfig.TRANSACTION_TIMEOUT_CONFIG, "600000")
                .setProperty(ProducerConfig.BATCH_SIZE_CONFIG, String.valueOf(256 << 10))
                .setProperty(ProducerConfig.LINGER_MS_CONFIG, "20")
                .build();
    }

    private static Optional<Path> newestSnapshot(Path state) {
        if (!Files.isDirectory(state)) {
            return Optional.empty();
        }
        try (Stream<Path> files = Files.walk(state)) {
            return files.filter(path -> path.endsWith("_metadata"))
                    .max(Comparator.comparing(path -> path.toFile().lastModified()))
                    .map(Path::getParent);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    private static final TypeInformation<Tuple2<byte[], byte[]>> BAR =
            Types.TUPLE(
                    Types.PRIMITIVE_ARRAY(Types.BYTE), Types.PRIMITIVE_ARRAY(Types.BYTE));

    /** From the earliest offset; it is asked right before the partitions are assigned. */
    private static final class Earliest implements OffsetsInitializer {
        private final OffsetsInitializer earliest = OffsetsInitializer.earliest();

        @Override
        public Map<TopicPartition, Long> getPartitionOffsets(
                Collection<TopicPartition> partitions, PartitionOffsetsRetriever retriever) {
            Run.assigned();
            return earliest.getPartitionOffsets(partitions, retriever);
        }

        @Override
        public OffsetResetStrategy getAutoOffsetResetStrategy() {
            return earliest.getAutoOffsetResetStrategy();
        }
    }

    /** Values to ticks; what cannot be read is counted. */
    private static final class Ticks implements KafkaRecordDeserializationSchema<Tick> {
        private final boolean restored;

        Ticks(boolean restored) {
            this.restored = restored;
        }

        @Override
        public void open(DeserializationSchema.InitializationContext context) {
            if (restored) {
                // the partitions are those of the snapshot, and no initializer is asked
                Run.assigned();
            }
        }

        @Override
        public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<Tick> out) {
            Tick tick = record.key() == null ? null : Tick.read(record.value());
            if (tick == null) {
                Run.skipped();
                return;
            }
            tick.series = new String(record.key(), StandardCharsets.UTF_8);
            out.collect(tick);
        }

        @Override
        public TypeInformation<Tick> getProducedType() {
            return TypeInformation.of(Tick.class);
        }
    }

    private static final class Folds implements AggregateFunction<Tick, Fold, Fold> {
        @Override
        public Fold createAccumulator() {
            return new Fold();
        }

        @Override
        public Fold add(Tick tick, Fold fold) {
            return fold.add(tick);
        }

        @Override
        public Fold getResult(Fold fold) {
            return fold;
        }

        @Override
        public Fold merge(Fold one, Fold other) {
            throw new UnsupportedOperationException("tumbling windows are never merged");
        }
    }

    private static final class Bars
            extends ProcessWindowFunction<Fold, Tuple2<byte[], byte[]>, String, TimeWindow> {
        @Override
        public void process(
                String series,
                Context context,
                Iterable<Fold> folds,
                Collector<Tuple2<byte[], byte[]>> out) {
            byte[] key = series.getBytes(StandardCharsets.UTF_8);
            long startMs = context.window().getStart();
            for (Fold fold : folds) {
                out.collect(Tuple2.of(key, fold.toBar(key, startMs)));
            }
        }
    }

    private static final class Output
            implements KafkaRecordSerializationSchema<Tuple2<byte[], byte[]>> {
        private final String topic;

        Output(String topic) {
            this.topic = topic;
        }

        @Override
        public ProducerRecord<byte[], byte[]> serialize(
                Tuple2<byte[], byte[]> bar, KafkaSinkContext context, Long timestampMs) {
            return new ProducerRecord<>(topic, bar.f0, bar.f1);
        }
    }
}
