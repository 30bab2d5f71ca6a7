package main

import (
	"flag"
	"io"
	"net"
)

// The bytes that relay reads before it knows where to send the rest.
const sniffed = 8

// relay is a proxy as many are written in Go: it reads the first bytes of a
// connection itself, to look at them, and leaves the rest to io.Copy.
func relay(args []string) error {
	flags := flag.NewFlagSet("relay", flag.ExitOnError)
	listen := flags.String("listen", "", "address and port")
	to := flags.String("to", "", "where to: address and port, or the path of a Unix socket")
	flags.Parse(args)
	return serve(*listen, func(conn *net.TCPConn) error {
		first := make([]byte, sniffed)
		if _, err := io.ReadFull(conn, first); err != nil {
			return err
		}
		dialled, err := net.Dial(network(*to), *to)
		if err != nil {
			return err
		}
		defer dialled.Close()
		upstream := dialled.(interface {
			net.Conn
			CloseWrite() error
		})
		if _, err := upstream.Write(first); err != nil {
			return err
		}
		there := make(chan error, 1)
		go func() {
			_, err := io.Copy(upstream, conn)
			if err == nil {
				err = upstream.CloseWrite()
			}
			there <- err
		}()
		if _, err := io.Copy(conn, upstream); err != nil {
			return err
		}
		if err := conn.CloseWrite(); err != nil {
			return err
		}
		return <-there
	})
}
