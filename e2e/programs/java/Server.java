import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Executors;

/** The JDK's HTTP server: files of a directory by GET, an echo by POST. */
public final class Server {
    private Server() {}

    public static void main(String[] args) throws IOException {
        Path root = Path.of(args[1]);
        HttpServer server = HttpServer.create(new InetSocketAddress("::", Integer.parseInt(args[0])), 0);
        server.setExecutor(Executors.newFixedThreadPool(8));
        server.createContext("/", exchange -> {
            try (exchange) {
                answer(exchange, root);
            }
        });
        server.start();
    }

    private static void answer(HttpExchange exchange, Path root) throws IOException {
        if (exchange.getRequestMethod().equals("POST")) {
            byte[] body = exchange.getRequestBody().readAllBytes();
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            return;
        }
        Path path = root.resolve(exchange.getRequestURI().getPath().substring(1));
        if (!Files.isRegularFile(path)) {
            exchange.sendResponseHeaders(404, -1);
            return;
        }
        boolean head = exchange.getRequestMethod().equals("HEAD");
        exchange.sendResponseHeaders(200, head ? -1 : Files.size(path));
        if (!head) {
            Files.copy(path, exchange.getResponseBody());
        }
    }
}
