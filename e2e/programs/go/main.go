// Command programs is what Go applications do with their connections: echo and
// relay by io.Copy, which splices, gRPC, WebSocket and HTTP/2 without TLS.
// `sockway-e2e programs` runs it in pods, beside nginx, Redis and others. It also plays
// terway's daemon in the trial cluster.
package main

import (
	"fmt"
	"os"
)

// A command takes the arguments behind its name.
var commands = map[string]func([]string) error{
	"echo":        echo,
	"relay":       relay,
	"dial":        dial,
	"grpc-server": grpcServer,
	"grpc-client": grpcClient,
	"ws-server":   websocketServer,
	"ws-client":   websocketClient,
	"web":         web,
	"get":         get,
	"put":         put,

	"stream-server": streamServer,
	"stream":        stream,
	"channel":       channelForLife,

	"terway-daemon": terwayDaemon,
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintf(os.Stderr, "usage: %s COMMAND [FLAGS]; the commands:\n", os.Args[0])
		for name := range commands {
			fmt.Fprintf(os.Stderr, "  %s\n", name)
		}
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}
