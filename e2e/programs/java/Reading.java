import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;

/** What a reader has read: its checksum, and when a slow reader pauses. */
final class Reading {
    static final long PAUSE_MS = 300;
    private static final long FIRST_PAUSE = 64 << 10;
    private static final long PAUSE_EVERY = 8 << 20;

    private final MessageDigest sum;
    private final boolean slow;
    private long total;
    private long next = FIRST_PAUSE;

    Reading(boolean slow) {
        this.slow = slow;
        try {
            sum = MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    /** Takes in what was read; true where a slow reader pauses now. */
    boolean read(java.nio.ByteBuffer bytes) {
        total += bytes.remaining();
        sum.update(bytes);
        if (!slow || total < next) {
            return false;
        }
        next += PAUSE_EVERY;
        return true;
    }

    long total() {
        return total;
    }

    /** A line of hexadecimal digits. */
    String line() {
        return HexFormat.of().formatHex(sum.digest()) + "\n";
    }
}
