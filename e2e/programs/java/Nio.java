import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;

/**
 * A selector and its channels: files of a directory by GET (transferTo), by POST the checksum of
 * what came. One thread, which sleeps where a slow reader pauses.
 */
public final class Nio {
    private Nio() {}

    public static void main(String[] args) throws IOException {
        Selector selector = Selector.open();
        ServerSocketChannel listener = ServerSocketChannel.open();
        listener.bind(new InetSocketAddress("::", Integer.parseInt(args[1])));
        listener.configureBlocking(false);
        listener.register(selector, SelectionKey.OP_ACCEPT);
        while (true) {
            selector.select(key -> {
                try {
                    if (key.isAcceptable()) {
                        SocketChannel channel = listener.accept();
                        if (channel != null) {
                            channel.configureBlocking(false);
                            Exchange exchange = new Exchange(channel, Path.of(args[2]));
                            channel.register(selector, SelectionKey.OP_READ, exchange);
                        }
                    } else {
                        ((Exchange) key.attachment()).go(key);
                    }
                } catch (IOException | InterruptedException e) {
                    System.err.println(e);
                    key.cancel();
                    try {
                        key.channel().close();
                    } catch (IOException again) {
                        System.err.println(again);
                    }
                }
            });
        }
    }

    /** A connection: one request after the other. */
    private static final class Exchange {
        private final SocketChannel channel;
        private final Path root;
        private final ByteBuffer in = ByteBuffer.allocateDirect(32 << 10);
        private String head = "";
        private Reading reading;
        private long expected;
        private ByteBuffer out = ByteBuffer.allocate(0);
        private FileChannel file;
        private long sent;

        Exchange(SocketChannel channel, Path root) {
            this.channel = channel;
            this.root = root;
        }

        void go(SelectionKey key) throws IOException, InterruptedException {
            if (key.isReadable()) {
                if (channel.read(in) < 0) {
                    key.cancel();
                    channel.close();
                    return;
                }
                in.flip();
                take();
                in.compact();
            }
            boolean done = write();
            key.interestOps(done ? SelectionKey.OP_READ : SelectionKey.OP_WRITE);
        }

        private void take() throws IOException, InterruptedException {
            while (reading == null && in.hasRemaining()) {
                head += (char) in.get();
                if (head.endsWith("\r\n\r\n")) {
                    begin();
                }
            }
            if (reading == null) {
                return;
            }
            if (reading.read(in)) {
                Thread.sleep(Reading.PAUSE_MS);
            }
            if (reading.total() == expected) {
                answer(reading.line());
            }
        }

        private void begin() throws IOException {
            String[] first = head.substring(0, head.indexOf('\r')).split(" ");
            if (first[0].equals("GET")) {
                file = FileChannel.open(root.resolve(first[1].substring(1)));
                sent = 0;
                out = ascii("HTTP/1.1 200 OK\r\nContent-Length: " + file.size() + "\r\n\r\n");
                head = "";
                return;
            }
            String length = head.toLowerCase().split("content-length: ")[1];
            expected = Long.parseLong(length.substring(0, length.indexOf('\r')));
            reading = new Reading(first[1].equals("/slow"));
        }

        private void answer(String body) {
            out = ascii("HTTP/1.1 200 OK\r\nContent-Length: " + body.length() + "\r\n\r\n" + body);
            reading = null;
            head = "";
        }

        /** True where everything is written. */
        private boolean write() throws IOException {
            channel.write(out);
            if (out.hasRemaining()) {
                return false;
            }
            if (file == null) {
                return true;
            }
            sent += file.transferTo(sent, file.size() - sent, channel);
            if (sent < file.size()) {
                return false;
            }
            file.close();
            file = null;
            return true;
        }

        private static ByteBuffer ascii(String text) {
            return ByteBuffer.wrap(text.getBytes(StandardCharsets.US_ASCII));
        }
    }
}
