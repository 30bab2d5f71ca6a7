package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
)

// Kinds of allocations, by terway's numbers.
const (
	exclusive = 1
	policy    = 2
)

// daemon plays terway's for its real CNI plugin: it hands out addresses and the node's
// network interfaces. The other end of each interface is on a bridge of a network
// namespace, which stands for the VPC.
type daemon struct {
	kind                                    uint64
	network, gateway, services, vpc, bridge string
	first                                   net.IP
	shared                                  string
	lock                                    sync.Mutex
	next                                    int
	given                                   map[string]string
}

// terwayDaemon serves until it is ended.
func terwayDaemon(args []string) error {
	flags := flag.NewFlagSet("terway-daemon", flag.ExitOnError)
	socket := flags.String("socket", "/run/eni/eni.socket", "where the plugin looks for it")
	mode := flags.String("mode", "policy", "policy or exclusive")
	first := flags.String("first", "", "the first address that is given")
	d := daemon{kind: policy, given: map[string]string{}}
	flags.StringVar(&d.network, "network", "", "what the addresses are part of")
	flags.StringVar(&d.gateway, "gateway", "", "the VPC's router")
	flags.StringVar(&d.services, "services", "", "addresses of Services")
	flags.StringVar(&d.vpc, "vpc", "vpc", "the VPC's network namespace")
	flags.StringVar(&d.bridge, "bridge", "vpc0", "the bridge in it")
	flags.Parse(args)
	if d.first = net.ParseIP(*first).To4(); d.first == nil {
		return fmt.Errorf("%q is no address", *first)
	}
	if *mode == "exclusive" {
		d.kind = exclusive
	} else {
		mac, err := d.attach("shared")
		if err != nil {
			return err
		}
		d.shared = mac
	}
	if err := os.MkdirAll(path.Dir(*socket), 0o755); err != nil {
		return err
	}
	os.Remove(*socket)
	listener, err := net.Listen("unix", *socket)
	if err != nil {
		return err
	}
	return grpc.NewServer(grpc.ForceServerCodec(bytesCodec{}), grpc.UnknownServiceHandler(d.serve)).Serve(listener)
}

// serve answers a call, whatever its name.
func (d *daemon) serve(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	var request []byte
	if err := stream.RecvMsg(&request); err != nil {
		return err
	}
	answer, err := d.call(path.Base(method), text(request, 3))
	if err != nil {
		fmt.Fprintln(os.Stderr, method, err)
		return err
	}
	return stream.SendMsg(&answer)
}

func (d *daemon) call(method, container string) ([]byte, error) {
	d.lock.Lock()
	defer d.lock.Unlock()
	address, known := d.given[container]
	switch method {
	case "AllocIP":
		mac := d.shared
		if !known {
			address = net.IPv4(d.first[0], d.first[1], d.first[2]+byte(d.next>>8), d.first[3]+byte(d.next)).String()
			d.next++
		}
		if d.kind == exclusive {
			var err error
			if mac, err = d.attach(fmt.Sprint(d.next)); err != nil {
				return nil, err
			}
		}
		d.given[container] = address
		answer := number(number(number(nil, 1, 1), 2, d.kind), 3, 1)
		return message(answer, 5, d.net(address, mac)), nil
	case "GetIPInfo":
		answer := number(number(number(nil, 1, d.kind), 2, 1), 3, 1)
		if known {
			answer = message(answer, 5, d.net(address, d.shared))
		}
		return answer, nil
	case "ReleaseIP":
		delete(d.given, container)
		return number(nil, 1, 1), nil
	case "RecordEvent":
		return number(nil, 1, 1), nil
	}
	return nil, fmt.Errorf("%s is no method", method)
}

// attach gives the node an interface of the VPC's; its hardware address.
func (d *daemon) attach(name string) (string, error) {
	eni, port := "eni"+name, "port"+name
	for _, line := range []string{
		"link add " + eni + " type veth peer name " + port + " netns " + d.vpc,
		"-n " + d.vpc + " link set " + port + " master " + d.bridge + " up",
	} {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("ip %s: %w: %s", line, err, out)
		}
	}
	link, err := net.InterfaceByName(eni)
	if err != nil {
		return "", err
	}
	return link.HardwareAddr.String(), nil
}

// net is the plugin's NetConf.
func (d *daemon) net(address, mac string) []byte {
	var basic []byte
	for field, value := range map[protowire.Number]string{1: address, 2: d.network, 3: d.gateway, 4: d.services} {
		basic = message(basic, field, message(nil, 1, []byte(value)))
	}
	conf := message(nil, 1, basic)
	if mac != "" {
		conf = message(conf, 2, message(nil, 1, []byte(mac)))
	}
	return number(conf, 6, 1)
}

func number(to []byte, field protowire.Number, value uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(to, field, protowire.VarintType), value)
}

func message(to []byte, field protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(to, field, protowire.BytesType), value)
}

// text is a field of a message, "" where it is not there.
func text(from []byte, wanted protowire.Number) string {
	for len(from) > 0 {
		field, kind, size := protowire.ConsumeTag(from)
		if size < 0 {
			return ""
		}
		from = from[size:]
		if field == wanted && kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(from)
			return string(value)
		}
		if size = protowire.ConsumeFieldValue(field, kind, from); size < 0 {
			return ""
		}
		from = from[size:]
	}
	return ""
}

// bytesCodec hands messages over as they are.
type bytesCodec struct{}

func (bytesCodec) Name() string                  { return "proto" }
func (bytesCodec) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (bytesCodec) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}
