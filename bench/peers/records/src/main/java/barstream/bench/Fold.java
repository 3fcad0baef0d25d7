package barstream.bench;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * The ticks of one series and minute, folded.
 *
 * <p>Open and close are by event time, as a trader means them, and by offset where times are equal:
 * all ticks of a series are in one partition, so they come here in the order of their offsets.
 */
public final class Fold {
    /** Length of {@link #toBytes()}. */
    public static final int BYTES = 8 * Long.BYTES;

    public long firstUs;
    public long lastUs;
    public double open;
    public double high;
    public double low;
    public double close;
    public double volume;
    public long count;

    /** Take one more tick in; returns this. */
    public Fold add(Tick tick) {
        double price = tick.price;
        if (count == 0) {
            firstUs = lastUs = tick.timeUs;
            open = high = low = close = price;
        } else {
            if (tick.timeUs < firstUs) {
                firstUs = tick.timeUs;
                open = price;
            }
            if (tick.timeUs >= lastUs) {
                lastUs = tick.timeUs;
                close = price;
            }
            if (price > high) {
                high = price;
            }
            if (price < low) {
                low = price;
            }
        }
        volume += tick.size;
        count++;
        return this;
    }

    /** The state of a store. */
    public byte[] toBytes() {
        return ByteBuffer.allocate(BYTES)
                .putLong(firstUs)
                .putLong(lastUs)
                .putDouble(open)
                .putDouble(high)
                .putDouble(low)
                .putDouble(close)
                .putDouble(volume)
                .putLong(count)
                .array();
    }

    public static Fold fromBytes(byte[] bytes) {
        ByteBuffer in = ByteBuffer.wrap(bytes);
        Fold fold = new Fold();
        fold.firstUs = in.getLong();
        fold.lastUs = in.getLong();
        fold.open = in.getDouble();
        fold.high = in.getDouble();
        fold.low = in.getDouble();
        fold.close = in.getDouble();
        fold.volume = in.getDouble();
        fold.count = in.getLong();
        return fold;
    }

    /**
     * The plain body of {@code bar.avsc}.
     *
     * @param series key of the record: broker NUL symbol
     * @param startMs of the minute
     */
    public byte[] toBar(byte[] series, long startMs) {
        int nul = 0;
        while (nul < series.length - 1 && series[nul] != 0) {
            nul++;
        }
        ByteBuffer out =
                ByteBuffer.allocate(series.length + 4 * 10 + 5 * Double.BYTES)
                        .order(ByteOrder.LITTLE_ENDIAN);
        putText(out, series, 0, nul);
        putText(out, series, nul + 1, series.length - nul - 1);
        putLong(out, startMs * 1000);
        out.putDouble(open).putDouble(high).putDouble(low).putDouble(close).putDouble(volume);
        putLong(out, count);
        byte[] body = new byte[out.position()];
        out.flip().get(body);
        return body;
    }

    private static void putText(ByteBuffer out, byte[] bytes, int from, int length) {
        putLong(out, length);
        out.put(bytes, from, length);
    }

    private static void putLong(ByteBuffer out, long value) {
        long left = (value << 1) ^ (value >> 63);
        while ((left & ~0x7fL) != 0) {
            out.put((byte) (left & 0x7f | 0x80));
            left >>>= 7;
        }
        out.put((byte) left);
    }
}
