import io.netty.bootstrap.Bootstrap;
import io.netty.bootstrap.ServerBootstrap;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.DefaultFileRegion;
import io.netty.channel.EventLoopGroup;
import io.netty.channel.SimpleChannelInboundHandler;
import io.netty.channel.epoll.EpollEventLoopGroup;
import io.netty.channel.epoll.EpollServerSocketChannel;
import io.netty.channel.epoll.EpollSocketChannel;
import io.netty.handler.codec.http.DefaultFullHttpRequest;
import io.netty.handler.codec.http.DefaultFullHttpResponse;
import io.netty.handler.codec.http.DefaultHttpRequest;
import io.netty.handler.codec.http.DefaultHttpResponse;
import io.netty.handler.codec.http.HttpClientCodec;
import io.netty.handler.codec.http.HttpContent;
import io.netty.handler.codec.http.HttpHeaderNames;
import io.netty.handler.codec.http.HttpMessage;
import io.netty.handler.codec.http.HttpMethod;
import io.netty.handler.codec.http.HttpObject;
import io.netty.handler.codec.http.HttpRequest;
import io.netty.handler.codec.http.HttpResponseStatus;
import io.netty.handler.codec.http.HttpServerCodec;
import io.netty.handler.codec.http.HttpVersion;
import io.netty.handler.codec.http.LastHttpContent;
import java.io.File;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/**
 * Netty 4.1 over its native epoll transport, edge-triggered (4.2 is level-triggered). As a server: files of a directory by GET (sendfile), by
 * POST the checksum of what came. As a client: get and put.
 */
public final class Netty {
    private Netty() {}

    public static void main(String[] args) throws Exception {
        EventLoopGroup group = new EpollEventLoopGroup(2);
        if (args[0].equals("serve")) {
            ServerBootstrap server = new ServerBootstrap().group(group).channel(EpollServerSocketChannel.class);
            server.childHandler(new ChannelInitializer<Channel>() {
                @Override
                protected void initChannel(Channel channel) {
                    channel.pipeline().addLast(new HttpServerCodec(), new Serve(new File(args[2])));
                }
            });
            server.bind(Integer.parseInt(args[1])).sync().channel().closeFuture().sync();
            return;
        }
        try {
            client(group, args);
        } finally {
            group.shutdownGracefully(0, 1, TimeUnit.SECONDS);
        }
    }

    /** `get|put fast|slow HOST:PORT COUNT NAME...` on one connection. */
    private static void client(EventLoopGroup group, String[] args) throws Exception {
        boolean get = args[0].equals("get");
        int colon = args[2].lastIndexOf(':');
        String host = args[2].substring(0, colon).replaceAll("[\\[\\]]", "");
        BlockingQueue<String> answers = new LinkedBlockingQueue<>();
        Bootstrap client = new Bootstrap().group(group).channel(EpollSocketChannel.class);
        client.handler(new ChannelInitializer<Channel>() {
            @Override
            protected void initChannel(Channel channel) {
                boolean slow = get && args[1].equals("slow");
                channel.pipeline().addLast(new HttpClientCodec(), new Receive(slow, get, answers));
            }
        });
        Channel channel = client.connect(host, Integer.parseInt(args[2].substring(colon + 1))).sync().channel();
        for (int round = Integer.parseInt(args[3]); round > 0; round--) {
            for (int at = 4; at < args.length; at++) {
                if (get) {
                    channel.writeAndFlush(with(args[2], new DefaultFullHttpRequest(
                            HttpVersion.HTTP_1_1, HttpMethod.GET, "/" + args[at])));
                } else {
                    File file = new File(args[at]);
                    HttpMessage request = new DefaultHttpRequest(HttpVersion.HTTP_1_1, HttpMethod.POST, "/" + args[1]);
                    request.headers().set(HttpHeaderNames.CONTENT_LENGTH, file.length());
                    channel.write(with(args[2], request));
                    channel.write(new DefaultFileRegion(file, 0, file.length()));
                    channel.writeAndFlush(LastHttpContent.EMPTY_LAST_CONTENT);
                }
                System.out.print(answers.take());
            }
        }
        channel.close().sync();
    }

    private static HttpMessage with(String host, HttpMessage request) {
        request.headers().set(HttpHeaderNames.HOST, host);
        return request;
    }

    /** Bodies of one kind of message, read slowly where that is wanted. */
    private abstract static class Bodies extends SimpleChannelInboundHandler<HttpObject> {
        protected Reading reading;

        protected void take(ChannelHandlerContext context, ByteBuf bytes) {
            if (reading.read(bytes.nioBuffer())) {
                context.channel().config().setAutoRead(false);
                context.executor().schedule(
                        () -> context.channel().config().setAutoRead(true), Reading.PAUSE_MS, TimeUnit.MILLISECONDS);
            }
        }

        @Override
        public void exceptionCaught(ChannelHandlerContext context, Throwable cause) {
            cause.printStackTrace();
            context.close();
        }
    }

    private static final class Receive extends Bodies {
        private final boolean slow;
        private final boolean sums;
        private final BlockingQueue<String> answers;
        private final StringBuilder text = new StringBuilder();

        Receive(boolean slow, boolean sums, BlockingQueue<String> answers) {
            this.slow = slow;
            this.sums = sums;
            this.answers = answers;
            reading = new Reading(slow);
        }

        @Override
        protected void channelRead0(ChannelHandlerContext context, HttpObject message) {
            if (message instanceof HttpContent content) {
                if (!sums) {
                    text.append(content.content().toString(StandardCharsets.US_ASCII));
                }
                take(context, content.content());
                if (message instanceof LastHttpContent) {
                    answers.add(sums ? reading.line() : text.toString());
                    reading = new Reading(slow);
                    text.setLength(0);
                }
            }
        }

        @Override
        public void channelInactive(ChannelHandlerContext context) {
            answers.add("the connection ended after " + reading.total() + " bytes\n");
        }
    }

    private static final class Serve extends Bodies {
        private final File root;
        private HttpMethod method;

        Serve(File root) {
            this.root = root;
        }

        @Override
        protected void channelRead0(ChannelHandlerContext context, HttpObject message) {
            if (message instanceof HttpRequest request) {
                method = request.method();
                reading = new Reading(request.uri().equals("/slow"));
                if (method.equals(HttpMethod.GET)) {
                    send(context, new File(root, request.uri()));
                }
            }
            if (message instanceof HttpContent content) {
                take(context, content.content());
                if (message instanceof LastHttpContent && method.equals(HttpMethod.POST)) {
                    ByteBuf line = Unpooled.copiedBuffer(reading.line(), StandardCharsets.US_ASCII);
                    var response = new DefaultFullHttpResponse(HttpVersion.HTTP_1_1, HttpResponseStatus.OK, line);
                    response.headers().set(HttpHeaderNames.CONTENT_LENGTH, line.readableBytes());
                    context.writeAndFlush(response);
                }
            }
        }

        private static void send(ChannelHandlerContext context, File file) {
            var response = new DefaultHttpResponse(HttpVersion.HTTP_1_1, HttpResponseStatus.OK);
            response.headers().set(HttpHeaderNames.CONTENT_LENGTH, file.length());
            context.write(response);
            context.write(new DefaultFileRegion(file, 0, file.length()));
            context.writeAndFlush(LastHttpContent.EMPTY_LAST_CONTENT);
        }
    }
}
