package main

import (
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"time"
)

// dial sends bytes to an echo, half-closes, and compares what comes back.
// One line for each connection: its number, bytes and checksum.
func dial(args []string) error {
	flags := flag.NewFlagSet("dial", flag.ExitOnError)
	to := flags.String("to", "", "address and port")
	count := flags.Int("count", 1, "connections, one after the other")
	size := flags.Int64("size", 1<<10, "bytes of each")
	limit := flags.Duration("limit", 30*time.Second, "how long one may take")
	flags.Parse(args)
	for number := range *count {
		line, err := exchange(*to, uint64(number), *size, *limit)
		if err != nil {
			return fmt.Errorf("connection %d: %w", number, err)
		}
		fmt.Fprintln(os.Stdout, line)
	}
	return nil
}

func exchange(to string, seed uint64, size int64, limit time.Duration) (string, error) {
	dialled, err := net.Dial("tcp", to)
	if err != nil {
		return "", err
	}
	defer dialled.Close()
	conn := dialled.(*net.TCPConn)
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return "", err
	}
	sent := sha256.New()
	failed := make(chan error, 1)
	go func() {
		source := io.LimitReader(rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}), size)
		// Hidden in a struct, so that neither side takes a short cut.
		_, err := io.Copy(struct{ io.Writer }{conn}, io.TeeReader(source, sent))
		if err == nil {
			err = conn.CloseWrite()
		}
		failed <- err
	}()
	received := sha256.New()
	count, err := io.Copy(received, struct{ io.Reader }{conn})
	if err != nil {
		return "", fmt.Errorf("after %d of %d bytes came back: %w", count, size, err)
	}
	if err := <-failed; err != nil {
		return "", err
	}
	if count != size {
		return "", fmt.Errorf("%d bytes came back, not %d", count, size)
	}
	sum := hex.EncodeToString(received.Sum(nil))
	if want := hex.EncodeToString(sent.Sum(nil)); sum != want {
		return "", fmt.Errorf("other bytes came back: %s, not %s", sum, want)
	}
	return fmt.Sprintf("%d %d %s", seed, count, sum[:16]), nil
}
