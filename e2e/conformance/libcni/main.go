// sockway-libcni drives a CNI chain with libcni where cnitool cannot: with
// container ids of the caller's choice, an empty namespace path, a list of
// valid attachments for GC, and many calls from one process.
//
// It reads one call per line from standard input, runs up to -parallel of them
// at a time, and writes one answer per line, in the order of completion:
//
//	{"id":1,"verb":"ADD","container":"c1","netns":"/run/netns/a","ifname":"eth0"}
//	{"id":1,"result":{...}}  or  {"id":1,"error":"...","code":7}
//
// Plugins' standard error goes to this program's.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
)

// maxLine bounds a line of standard input, bytes.
const maxLine = 1 << 20

type call struct {
	ID           int                    `json:"id"`
	Verb         string                 `json:"verb"`
	Container    string                 `json:"container"`
	Netns        string                 `json:"netns"`
	Ifname       string                 `json:"ifname"`
	Args         [][2]string            `json:"args"`
	Capabilities map[string]interface{} `json:"capabilities"`
	Valid        []types.GCAttachment   `json:"valid"`
}

type answer struct {
	ID     int          `json:"id"`
	Result types.Result `json:"result,omitempty"`
	Error  string       `json:"error,omitempty"`
	Code   uint         `json:"code,omitempty"`
}

type runtime struct {
	cni  *libcni.CNIConfig
	list *libcni.NetworkConfigList
}

func main() {
	conflist := flag.String("conflist", "", "file with the network configuration list")
	plugins := flag.String("plugins", "", "directories of the plugins, separated by colons")
	cache := flag.String("cache", "", "directory of libcni's result cache")
	parallel := flag.Int("parallel", 1, "calls that run at a time")
	flag.Parse()
	if err := run(*conflist, *plugins, *cache, *parallel); err != nil {
		fmt.Fprintln(os.Stderr, "sockway-libcni:", err)
		os.Exit(1)
	}
}

func run(conflist, plugins, cache string, parallel int) error {
	list, err := libcni.NetworkConfFromFile(conflist)
	if err != nil {
		return err
	}
	cni := libcni.NewCNIConfigWithCacheDir(filepath.SplitList(plugins), cache, nil)
	calls := make(chan call)
	answers := make(chan answer)
	var workers sync.WaitGroup
	for i := 0; i < parallel; i++ {
		workers.Add(1)
		go func() {
			defer workers.Done()
			r := runtime{cni, list}
			for c := range calls {
				answers <- r.answer(c)
			}
		}()
	}
	read := make(chan error, 1)
	go func() {
		read <- readCalls(calls)
		close(calls)
		workers.Wait()
		close(answers)
	}()
	encoder := json.NewEncoder(os.Stdout)
	for a := range answers {
		if err := encoder.Encode(a); err != nil {
			return err
		}
	}
	return <-read
}

func readCalls(calls chan<- call) error {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var c call
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return fmt.Errorf("call %q: %w", lines.Text(), err)
		}
		calls <- c
	}
	return lines.Err()
}

func (r runtime) answer(c call) answer {
	result, err := r.do(c)
	a := answer{ID: c.ID, Result: result}
	if err != nil {
		a.Error = err.Error()
		var cni *types.Error
		if errors.As(err, &cni) {
			a.Code = cni.Code
		}
	}
	return a
}

func (r runtime) do(c call) (types.Result, error) {
	ctx := context.Background()
	rt := &libcni.RuntimeConf{
		ContainerID:    c.Container,
		NetNS:          c.Netns,
		IfName:         c.Ifname,
		Args:           c.Args,
		CapabilityArgs: c.Capabilities,
	}
	switch c.Verb {
	case "ADD":
		return r.cni.AddNetworkList(ctx, r.list, rt)
	case "CHECK":
		return nil, r.cni.CheckNetworkList(ctx, r.list, rt)
	case "DEL":
		return nil, r.cni.DelNetworkList(ctx, r.list, rt)
	case "STATUS":
		return nil, r.cni.GetStatusNetworkList(ctx, r.list)
	case "GC":
		return nil, r.cni.GCNetworkList(ctx, r.list, &libcni.GCArgs{ValidAttachments: c.Valid})
	case "VERSION":
		// What containerd does when it loads a list: every plugin must speak its version.
		_, err := r.cni.ValidateNetworkList(ctx, r.list)
		return nil, err
	default:
		return nil, fmt.Errorf("verb %q is none of ADD, CHECK, DEL, STATUS, GC, VERSION", c.Verb)
	}
}
