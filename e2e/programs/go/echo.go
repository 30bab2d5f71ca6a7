package main

import (
	"flag"
	"fmt"
	"io"
	"net"
)

// echo sends everything back as it comes. io.Copy between two TCP connections
// is splice(2) in Go; the bytes never come to this program.
func echo(args []string) error {
	flags := flag.NewFlagSet("echo", flag.ExitOnError)
	listen := flags.String("listen", "", "address and port")
	flags.Parse(args)
	return serve(*listen, func(conn *net.TCPConn) error {
		if _, err := io.Copy(conn, conn); err != nil {
			return err
		}
		return conn.CloseWrite()
	})
}

// serve hands every connection to a function of its own goroutine.
func serve(listen string, handle func(*net.TCPConn) error) error {
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			if err := handle(conn.(*net.TCPConn)); err != nil {
				fmt.Println(err)
			}
		}()
	}
}
