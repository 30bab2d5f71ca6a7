package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
)

// grpcServer is the server of gRPC's own interoperability tests.
func grpcServer(args []string) error {
	flags := flag.NewFlagSet("grpc-server", flag.ExitOnError)
	listen := flags.String("listen", "", "address and port")
	flags.Parse(args)
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	testgrpc.RegisterTestServiceServer(server, interop.NewTestServer())
	return server.Serve(listener)
}

// What grpcClient does on each connection. Each ends the program where an answer is wrong.
var calls = []struct {
	name string
	call func(context.Context, testgrpc.TestServiceClient, ...grpc.CallOption)
}{
	{"empty unary", interop.DoEmptyUnaryCall},
	{"large unary", interop.DoLargeUnaryCall},
	{"client streaming", interop.DoClientStreaming},
	{"server streaming", interop.DoServerStreaming},
	{"ping pong", interop.DoPingPong},
	{"empty stream", interop.DoEmptyStream},
	{"cancel after begin", interop.DoCancelAfterBegin},
	{"cancel after first response", interop.DoCancelAfterFirstResponse},
	{"status code and message", interop.DoStatusCodeAndMessage},
	{"custom metadata", interop.DoCustomMetadata},
}

// grpcClient makes the calls on a number of connections, one after the other.
func grpcClient(args []string) error {
	flags := flag.NewFlagSet("grpc-client", flag.ExitOnError)
	to := flags.String("to", "", "address and port")
	count := flags.Int("count", 1, "connections")
	flags.Parse(args)
	for range *count {
		if err := callAll(*to); err != nil {
			return err
		}
	}
	return nil
}

func callAll(to string) error {
	conn, err := grpc.NewClient("passthrough:///"+to, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	client := testgrpc.NewTestServiceClient(conn)
	for _, one := range calls {
		one.call(ctx, client)
		fmt.Println(one.name)
	}
	return nil
}
