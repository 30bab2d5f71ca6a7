package main

import (
	"flag"
	"net/http"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/h2c"
)

// web serves a directory by HTTP/1.1 and by HTTP/2 without TLS, both straight
// away and by upgrade.
func web(args []string) error {
	flags := flag.NewFlagSet("web", flag.ExitOnError)
	listen := flags.String("listen", "", "address and port")
	root := flags.String("root", "", "directory")
	flags.Parse(args)
	files := http.FileServer(http.Dir(*root))
	return http.ListenAndServe(*listen, h2c.NewHandler(files, &http2.Server{}))
}
