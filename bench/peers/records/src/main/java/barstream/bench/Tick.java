package barstream.bench;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * One tick of barstream's {@code tick.avsc}, read from a plain Avro body.
 *
 * <p>Written by hand: the schema is known when this is compiled, and the names of broker and
 * symbol, which the key of the record has as well, need not become strings.
 */
public final class Tick {
    /** 9999-12-31T23:59:59.999999Z, the last time barstream takes. */
    private static final long LAST_US = 253_402_300_799_999_999L;

    /** Key of the record, where a program has use for it as text. */
    public String series = "";

    /** Event time, microseconds since 1970-01-01T00:00:00Z. */
    public long timeUs;

    public double price;
    public double size;

    /**
     * A tick from its body; null where the bytes are no tick: cut short, left over, a number that
     * is none, a time that is out of range.
     */
    public static Tick read(byte[] body) {
        if (body == null) {
            return null;
        }
        Body in = new Body(body);
        in.skipText();
        in.skipText();
        Tick tick = new Tick();
        tick.timeUs = in.readLong();
        tick.price = in.readDouble();
        tick.size = in.readDouble();
        boolean good =
                in.ended()
                        && tick.timeUs >= 0
                        && tick.timeUs <= LAST_US
                        && Double.isFinite(tick.price)
                        && Double.isFinite(tick.size)
                        && tick.size >= 0;
        return good ? tick : null;
    }

    public long timeMs() {
        return timeUs / 1000;
    }

    /** A place in an Avro body; once something did not fit, nothing fits any more. */
    private static final class Body {
        private final byte[] bytes;
        private int at;
        private boolean broken;

        Body(byte[] bytes) {
            this.bytes = bytes;
        }

        long readLong() {
            long value = 0;
            for (int shift = 0; shift < 64; shift += 7) {
                if (broken || at == bytes.length) {
                    break;
                }
                byte next = bytes[at++];
                value |= (next & 0x7fL) << shift;
                if (next >= 0) {
                    return (value >>> 1) ^ -(value & 1);
                }
            }
            broken = true;
            return 0;
        }

        void skipText() {
            long length = readLong();
            // no tick without a broker and a symbol
            if (length <= 0 || length > bytes.length - at) {
                broken = true;
            } else {
                at += (int) length;
            }
        }

        double readDouble() {
            if (broken || bytes.length - at < Double.BYTES) {
                broken = true;
                return 0;
            }
            double value = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getDouble(at);
            at += Double.BYTES;
            return value;
        }

        boolean ended() {
            return !broken && at == bytes.length;
        }
    }
}
