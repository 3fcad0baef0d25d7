package barstream.bench;

import java.io.PrintStream;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import sun.misc.Signal;

/** What a peer is told on its command line, and what it tells on standard output. */
public final class Run {
    private static final AtomicBoolean ASSIGNED = new AtomicBoolean();
    private static final AtomicLong SKIPPED = new AtomicLong();

    public final String bootstrap;
    public final String ticks;
    public final String bars;
    public final String appId;
    public final String state;
    public final long graceMs;
    public final boolean exactlyOnce;
    private final Map<String, String> options;

    private Run(Map<String, String> options) {
        this.options = options;
        bootstrap = required("bootstrap");
        ticks = required("ticks");
        bars = required("bars");
        appId = required("app-id");
        state = required("state");
        graceMs = Long.parseLong(required("grace-ms"));
        exactlyOnce =
                oneOf("guarantee", "exactly_once", "at_least_once").equals("exactly_once");
    }

    /**
     * Options as {@code --name value}.
     *
     * @throws IllegalArgumentException one is missing, or has no value
     */
    public static Run of(String[] arguments) {
        Map<String, String> options = new HashMap<>();
        for (int i = 0; i < arguments.length; i += 2) {
            if (!arguments[i].startsWith("--") || i + 1 == arguments.length) {
                throw new IllegalArgumentException(
                        "options must be given as --name value, found " + arguments[i]);
            }
            options.put(arguments[i].substring(2), arguments[i + 1]);
        }
        return new Run(options);
    }

    /** The value of an option that has few of them, the first by default. */
    public String oneOf(String name, String... values) {
        String value = options.getOrDefault(name, values[0]);
        for (String known : values) {
            if (known.equals(value)) {
                return value;
            }
        }
        throw new IllegalArgumentException(
                "--" + name + " must be one of " + String.join(", ", values) + ", found " + value);
    }

    /** Partitions are assigned and it is about to read; said once. */
    public static void assigned() {
        if (ASSIGNED.compareAndSet(false, true)) {
            say("{\"event\": \"assigned\", \"at_ms\": " + System.currentTimeMillis() + "}");
        }
    }

    /**
     * What SIGTERM does, instead of beginning the shutdown of the JVM: that runs all hooks at once,
     * those of a framework beside ours, and ends with exit code 143.
     */
    public static void onTerm(Runnable action) {
        Signal.handle(new Signal("TERM"), signal -> action.run());
    }

    /** One value more that was no tick. */
    public static void skipped() {
        SKIPPED.incrementAndGet();
    }

    /** It ends in good order; what was consumed is committed. */
    public static void ended() {
        say("{\"event\": \"ended\", \"skipped\": " + SKIPPED.get() + "}");
    }

    private static void say(String line) {
        PrintStream out = System.out;
        out.println(line);
        out.flush();
    }

    private String required(String name) {
        String value = options.get(name);
        if (value == null) {
            throw new IllegalArgumentException("--" + name + " is required");
        }
        return value;
    }
}
