package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// What is on a gRPC stream: bytes as they are, without protocol buffers.
type raw []byte

type rawCodec struct{}

func (rawCodec) Name() string                  { return "raw" }
func (rawCodec) Marshal(v any) ([]byte, error) { return *v.(*raw), nil }
func (rawCodec) Unmarshal(data []byte, v any) error {
	*v.(*raw) = append(raw(nil), data...)
	return nil
}

// Bytes of a message on a stream.
const messageSize = 16 << 10

// streamServer sends a file on the stream "get", and answers the stream "put" with its checksum.
func streamServer(args []string) error {
	flags := flag.NewFlagSet("stream-server", flag.ExitOnError)
	listen := flags.String("listen", "", "address and port")
	root := flags.String("root", "", "directory")
	flags.Parse(args)
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	handle := func(_ any, stream grpc.ServerStream) error {
		var first raw
		if err := stream.RecvMsg(&first); err != nil {
			return err
		}
		if method, _ := grpc.Method(stream.Context()); method == "/files/put" {
			sum, err := checksum(&messages{receive: stream.RecvMsg}, string(first) == "slow")
			if err != nil {
				return err
			}
			answer := raw(sum)
			return stream.SendMsg(&answer)
		}
		return sendFile(filepath.Join(*root, string(first)), stream.SendMsg)
	}
	server := grpc.NewServer(grpc.ForceServerCodec(rawCodec{}))
	server.RegisterService(&grpc.ServiceDesc{ServiceName: "files", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{
		{StreamName: "get", Handler: handle, ServerStreams: true, ClientStreams: true},
		{StreamName: "put", Handler: handle, ServerStreams: true, ClientStreams: true},
	}}, struct{}{})
	return server.Serve(listener)
}

// messages of a stream as one stream of bytes.
type messages struct {
	receive func(any) error
	rest    raw
}

func (m *messages) Read(into []byte) (int, error) {
	for len(m.rest) == 0 {
		if err := m.receive(&m.rest); err != nil {
			return 0, err
		}
	}
	count := copy(into, m.rest)
	m.rest = m.rest[count:]
	return count, nil
}

func sendFile(name string, send func(any) error) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	buffer := make([]byte, messageSize)
	for {
		count, err := file.Read(buffer)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		message := raw(append([]byte(nil), buffer[:count]...))
		if err := send(&message); err != nil {
			return err
		}
	}
}

func channel(to string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+to, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{})))
}

func open(conn *grpc.ClientConn, method, first string) (grpc.ClientStream, error) {
	desc := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	stream, err := conn.NewStream(context.Background(), desc, "/files/"+method, grpc.WaitForReady(true))
	if err != nil {
		return nil, err
	}
	message := raw(first)
	return stream, stream.SendMsg(&message)
}

func fetch(conn *grpc.ClientConn, name string, slow bool) (string, error) {
	stream, err := open(conn, "get", name)
	if err != nil {
		return "", err
	}
	if err := stream.CloseSend(); err != nil {
		return "", err
	}
	return checksum(&messages{receive: stream.RecvMsg}, slow)
}

func send(conn *grpc.ClientConn, name string, slow bool) (string, error) {
	stream, err := open(conn, "put", speed(slow))
	if err != nil {
		return "", err
	}
	if err := sendFile(name, stream.SendMsg); err != nil {
		return "", err
	}
	if err := stream.CloseSend(); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(&messages{receive: stream.RecvMsg})
	return string(answer), err
}

// stream is get and put on one channel.
func stream(args []string) error {
	conn, err := channel(args[2])
	if err != nil {
		return err
	}
	defer conn.Close()
	one := send
	if args[0] == "get" {
		one = fetch
	}
	return transfers(args[1:], func(_, name string, slow bool) (string, error) { return one(conn, name, slow) })
}

// channelForLife fetches and sends on one channel that stays open: each tenth of
// a second for three seconds, then, once it has said "steady", at once. How
// often does not hang on how fast it is.
func channelForLife(args []string) error {
	flags := flag.NewFlagSet("channel", flag.ExitOnError)
	to := flags.String("to", "", "address and port")
	count := flags.Int("count", 1, "how often afterwards")
	flags.Parse(args)
	conn, err := channel(*to)
	if err != nil {
		return err
	}
	defer conn.Close()
	name := flags.Arg(0)
	both := func() (string, error) {
		got, err := fetch(conn, filepath.Base(name), false)
		if err != nil {
			return "", err
		}
		sent, err := send(conn, name, false)
		return got + sent, err
	}
	for range 30 {
		time.Sleep(100 * time.Millisecond)
		if _, err := both(); err != nil {
			return err
		}
	}
	fmt.Println("steady")
	// The meters are read before it goes on.
	time.Sleep(500 * time.Millisecond)
	for range *count {
		lines, err := both()
		if err != nil {
			return err
		}
		fmt.Print(lines)
	}
	fmt.Println("done")
	// And again before the connection ends.
	time.Sleep(500 * time.Millisecond)
	return nil
}
