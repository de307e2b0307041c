// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package fakevpp

import (
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
	"time"

	"go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/ethernet_types"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/memclnt"
	"go.fd.io/govpp/binapi/vlib"
	"go.fd.io/govpp/binapi/vpe"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/fakevpp/apisocket"
)

// version that the fake shows: the line that Calico-VPP v3.32 is built from.
const version = "26.06-rc0~583-ge84849bcdb7"

// none is VPP's ~0: no index, all of them, or any.
const none = ^uint32(0)

// state is what a process of VPP knows. VPP.mu guards it.
type state struct {
	config Config
	// boot names this process on the wire.
	boot string

	links    map[uint32]*link
	nextLink uint32
	peers    map[uint32]*peer
	tables   map[uint32]*table
	acls     map[uint32]*accessList
	// neighbors that VPP was told of.
	neighbors []neighbor
	// watchers of interface events by client index.
	watchers map[uint32]*apisocket.Client

	execError error
	// errors counts what VPP shows in "show errors", by node and reason.
	errors    map[errorCounter]uint64
	verdicts  map[Outcome]uint64
	unhandled map[string]int
}

// errorCounter is a line of "show errors".
type errorCounter struct {
	node, reason string
}

func newState(config Config) *state {
	s := &state{
		config:    config,
		boot:      fmt.Sprintf("%s@%d", config.Socket, time.Now().UnixNano()),
		links:     map[uint32]*link{},
		peers:     map[uint32]*peer{},
		tables:    map[uint32]*table{},
		acls:      map[uint32]*accessList{},
		watchers:  map[uint32]*apisocket.Client{},
		errors:    map[errorCounter]uint64{},
		verdicts:  map[Outcome]uint64{},
		unhandled: map[string]int{},
	}
	s.tables[0] = newTable(0, "ipv4-VRF:0")
	s.addLink(&link{name: "local0", kind: kindLocal, devType: "local"})
	return s
}

// forget drops the subscriptions of a client that is gone.
func (s *state) forget(client *apisocket.Client) {
	delete(s.watchers, client.Index())
	for _, p := range s.peers {
		delete(p.watchers, client.Index())
	}
}

// mac is an address that differs between the fake's interfaces and stays over restarts.
func (s *state) mac(name string) ethernet_types.MacAddress {
	sum := sha256.Sum256([]byte(s.config.Socket + "/" + name))
	return ethernet_types.MacAddress{0x02, 0xfe, sum[0], sum[1], sum[2], sum[3]}
}

func generalHandlers(put func(string, handler)) {
	put(onClient(func(_ *state, client *apisocket.Client, _ *memclnt.ControlPing) []api.Message {
		return []api.Message{&memclnt.ControlPingReply{ClientIndex: client.Index(), VpePID: uint32(os.Getpid())}}
	}))
	put(on(func(_ *state, _ *memclnt.MemclntKeepalive) []api.Message {
		return []api.Message{&memclnt.MemclntKeepaliveReply{}}
	}))
	put(on(func(_ *state, _ *vpe.ShowVersion) []api.Message {
		return []api.Message{&vpe.ShowVersionReply{Program: "vpe", Version: version, BuildDate: "2026-05-05T14:01:34", BuildDirectory: "/vpp"}}
	}))
	put(on(func(s *state, request *vlib.CliInband) []api.Message {
		output, err := s.command(request.Cmd)
		reply := &vlib.CliInbandReply{Reply: output}
		if err != nil {
			reply.Retval = -1
			reply.Reply += err.Error() + "\n"
		}
		return []api.Message{reply}
	}))
	put(onClient(func(s *state, client *apisocket.Client, request *interfaces.WantInterfaceEvents) []api.Message {
		if request.EnableDisable != 0 {
			s.watchers[client.Index()] = client
		} else {
			delete(s.watchers, client.Index())
		}
		return []api.Message{&interfaces.WantInterfaceEventsReply{}}
	}))
}

// notify tells the watchers of interface events.
func (s *state) notify(l *link, deleted bool) {
	flags := l.flags()
	if deleted {
		flags = 0
	}
	for _, client := range s.watchers {
		client.Event(&interfaces.SwInterfaceEvent{SwIfIndex: interface_types.InterfaceIndex(l.index), Flags: flags, Deleted: deleted})
	}
}

// sortedLinks by index, as VPP lists them.
func (s *state) sortedLinks() []*link {
	return sortedByKey(s.links)
}

// sortedByKey lists the values of the map in the order of its keys.
func sortedByKey[V any](m map[uint32]V) []V {
	keys := make([]uint32, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	values := make([]V, 0, len(m))
	for _, key := range keys {
		values = append(values, m[key])
	}
	return values
}
