package main

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/h2c"
)

// web serves a directory by HTTP/1.1 and by HTTP/2 without TLS, both straight
// away and by upgrade. What is posted is answered with its checksum.
func web(args []string) error {
	flags := flag.NewFlagSet("web", flag.ExitOnError)
	listen := flags.String("listen", "", "address and port, or the path of a Unix socket")
	root := flags.String("root", "", "directory")
	flags.Parse(args)
	listener, err := net.Listen(network(*listen), *listen)
	if err != nil {
		return err
	}
	files := http.FileServer(http.Dir(*root))
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			files.ServeHTTP(w, r)
			return
		}
		sum, err := checksum(r.Body, r.URL.Path == "/slow")
		if err != nil {
			fmt.Println(err)
			return
		}
		io.WriteString(w, sum)
	})
	return http.Serve(listener, h2c.NewHandler(handler, &http2.Server{}))
}

// network of an address: a path is that of a Unix socket.
func network(address string) string {
	if strings.HasPrefix(address, "/") {
		return "unix"
	}
	return "tcp"
}

// A slow reader pauses when it has read firstPause bytes, and each pauseEvery bytes.
const (
	pause      = 300 * time.Millisecond
	firstPause = 64 << 10
	pauseEvery = 8 << 20
)

// checksum of everything that comes, as a line of hexadecimal digits.
func checksum(from io.Reader, slow bool) (string, error) {
	sum, buffer, total, next := sha256.New(), make([]byte, 32<<10), 0, firstPause
	for {
		count, err := from.Read(buffer)
		sum.Write(buffer[:count])
		if total += count; slow && total >= next {
			time.Sleep(pause)
			next += pauseEvery
		}
		if err == io.EOF {
			return fmt.Sprintf("%x\n", sum.Sum(nil)), nil
		}
		if err != nil {
			return "", fmt.Errorf("after %d bytes: %w", total, err)
		}
	}
}

// get and put: `fast|slow HOST:PORT COUNT NAME...` on one connection; a line
// with the checksum of what came, or the server's of what was sent.
func get(args []string) error {
	http := client()
	return transfers(args, func(base, name string, slow bool) (string, error) {
		response, err := http.Get(base + "/" + name)
		if err != nil {
			return "", err
		}
		defer response.Body.Close()
		return checksum(response.Body, slow)
	})
}

func put(args []string) error {
	http := client()
	return transfers(args, func(base, name string, slow bool) (string, error) {
		file, err := os.Open(name)
		if err != nil {
			return "", err
		}
		response, err := http.Post(base+"/"+speed(slow), "application/octet-stream", file)
		if err != nil {
			return "", err
		}
		defer response.Body.Close()
		line, err := io.ReadAll(response.Body)
		return string(line), err
	})
}

func speed(slow bool) string {
	if slow {
		return "slow"
	}
	return "fast"
}

// client dials from the address in FROM, where there is one.
func client() *http.Client {
	dialer := &net.Dialer{}
	if from := net.ParseIP(os.Getenv("FROM")); from != nil {
		dialer.LocalAddr = &net.TCPAddr{IP: from}
	}
	return &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext}}
}

func transfers(args []string, one func(base, name string, slow bool) (string, error)) error {
	count := 0
	if _, err := fmt.Sscan(args[2], &count); err != nil {
		return err
	}
	for range count {
		for _, name := range args[3:] {
			line, err := one("http://"+args[1], name, args[0] == "slow")
			if err != nil {
				return err
			}
			fmt.Print(line)
		}
	}
	return nil
}
