package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

const largestMessage = 1 << 20

// websocketServer sends every message back in a message of the same type.
func websocketServer(args []string) error {
	flags := flag.NewFlagSet("ws-server", flag.ExitOnError)
	listen := flags.String("listen", "", "address and port")
	flags.Parse(args)
	return http.ListenAndServe(*listen, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		defer conn.CloseNow()
		conn.SetReadLimit(largestMessage)
		for {
			kind, message, err := conn.Read(r.Context())
			if err != nil {
				return
			}
			if err := conn.Write(r.Context(), kind, message); err != nil {
				fmt.Println(err)
				return
			}
		}
	}))
}

// websocketClient sends messages of many sizes and compares what comes back.
func websocketClient(args []string) error {
	flags := flag.NewFlagSet("ws-client", flag.ExitOnError)
	to := flags.String("to", "", "address and port")
	count := flags.Int("count", 1, "connections, one after the other")
	flags.Parse(args)
	for range *count {
		if err := converse(*to); err != nil {
			return err
		}
	}
	return nil
}

func converse(to string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, response, err := websocket.Dial(ctx, "ws://"+to+"/", nil)
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	conn.SetReadLimit(largestMessage)
	random := rand.NewChaCha8([32]byte{})
	total := 0
	for size := 1; size < largestMessage; size = size*3 + 1 {
		message := make([]byte, size)
		random.Read(message)
		if err := conn.Write(ctx, websocket.MessageBinary, message); err != nil {
			return err
		}
		kind, answer, err := conn.Read(ctx)
		if err != nil {
			return fmt.Errorf("after a message of %d bytes: %w", size, err)
		}
		if kind != websocket.MessageBinary || !bytes.Equal(message, answer) {
			return fmt.Errorf("a message of %d bytes came back as another", size)
		}
		total += size
	}
	if err := conn.Ping(conn.CloseRead(ctx)); err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	fmt.Println(response.StatusCode, total)
	return conn.Close(websocket.StatusNormalClosure, "")
}
