// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package fakevpp

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/acl"
	"go.fd.io/govpp/binapi/af_packet"
	"go.fd.io/govpp/binapi/feature"
	"go.fd.io/govpp/binapi/gso"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/ip"
	"go.fd.io/govpp/binapi/ip_neighbor"
	"go.fd.io/govpp/binapi/ipip"
	"go.fd.io/govpp/binapi/ipsec"
	"go.fd.io/govpp/binapi/memclnt"
	"go.fd.io/govpp/binapi/tapv2"
	"go.fd.io/govpp/binapi/vlib"
	"go.fd.io/govpp/binapi/vpe"
	"go.fd.io/govpp/binapi/vxlan"
	"go.fd.io/govpp/binapi/wireguard"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/fakevpp/apisocket"
)

// Messages are those that the fake announces: whole packages, as VPP does. It answers those that it has no handler for as unimplemented.
func Messages() []api.Message {
	return slices.Concat(memclnt.AllMessages(), vpe.AllMessages(), vlib.AllMessages(), interfaces.AllMessages(), ip.AllMessages(),
		ip_neighbor.AllMessages(), wireguard.AllMessages(), gso.AllMessages(), feature.AllMessages(), acl.AllMessages(),
		af_packet.AllMessages(), tapv2.AllMessages(), ipip.AllMessages(), ipsec.AllMessages(), vxlan.AllMessages())
}

// handler answers one kind of request. It is called with the state locked.
type handler func(s *state, client *apisocket.Client, request api.Message) []api.Message

// on adapts a function on one type of request.
func on[R any, M interface {
	*R
	api.Message
}](answer func(s *state, request M) []api.Message) (string, handler) {
	return M(new(R)).GetMessageName(), func(s *state, _ *apisocket.Client, request api.Message) []api.Message {
		typed, _ := request.(M)
		return answer(s, typed)
	}
}

// onClient is on for requests that subscribe the client.
func onClient[R any, M interface {
	*R
	api.Message
}](answer func(s *state, client *apisocket.Client, request M) []api.Message) (string, handler) {
	return M(new(R)).GetMessageName(), func(s *state, client *apisocket.Client, request api.Message) []api.Message {
		typed, _ := request.(M)
		return answer(s, client, typed)
	}
}

// handlers of all requests that the fake understands, by message name.
func handlers() map[string]handler {
	all := map[string]handler{}
	put := func(name string, h handler) { all[name] = h }
	generalHandlers(put)
	interfaceHandlers(put)
	deviceHandlers(put)
	wireguardHandlers(put)
	routeHandlers(put)
	aclHandlers(put)
	return all
}

// Answered are the messages that the fake understands, with their answers, and its events: what a VPP must have for the fake to stand in
// for it.
func Answered() []api.Message {
	understood := handlers()
	return slices.DeleteFunc(Messages(), func(message api.Message) bool {
		name := message.GetMessageName()
		base := strings.TrimSuffix(strings.TrimSuffix(name, "_reply"), "_details")
		for _, request := range []string{name, base, base + "_dump"} {
			if _, known := understood[request]; known {
				return false
			}
		}
		return name != "sw_interface_event" && name != "wireguard_peer_event"
	})
}

// dispatcher hands requests to the handlers.
type dispatcher struct {
	vpp      *VPP
	state    *state
	table    *apisocket.Table
	handlers map[string]handler
}

// Handle implements apisocket.Handler.
func (d *dispatcher) Handle(client *apisocket.Client, request api.Message) []api.Message {
	d.vpp.mu.Lock()
	defer d.vpp.mu.Unlock()
	name := request.GetMessageName()
	if retval, refused := d.vpp.faults.refuse[name]; refused {
		return d.failure(name, retval)
	}
	answer, known := d.handlers[name]
	if !known {
		d.state.unhandled[name]++
		return d.failure(name, api.UNIMPLEMENTED)
	}
	return answer(d.state, client, request)
}

// Closed implements apisocket.Handler.
func (d *dispatcher) Closed(client *apisocket.Client) {
	d.vpp.mu.Lock()
	defer d.vpp.mu.Unlock()
	d.state.forget(client)
}

// failure is the reply to the request with the return value; nothing for requests without a reply, such as dumps.
func (d *dispatcher) failure(name string, retval api.VPPApiError) []api.Message {
	reply := d.table.New(name + "_reply")
	if reply == nil {
		return nil
	}
	if field := reflect.ValueOf(reply).Elem().FieldByName("Retval"); field.IsValid() {
		field.SetInt(int64(retval))
	}
	return []api.Message{reply}
}

// Unhandled lists requests that the fake has no handler for, with how often they came.
func (v *VPP) Unhandled() []string {
	var names []string
	v.inspect(func(s *state) {
		for name, times := range s.unhandled {
			names = append(names, fmt.Sprintf("%s x%d", name, times))
		}
	})
	slices.SortFunc(names, strings.Compare)
	return names
}
