// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package fakevpp

import (
	"cmp"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/wireguard"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/fakevpp/apisocket"
)

// Key is a WireGuard key.
type Key [32]byte

// String is the key in base64.
func (k Key) String() string {
	return base64.StdEncoding.EncodeToString(k[:])
}

func toKey(b []byte) Key {
	var key Key
	copy(key[:], b)
	return key
}

// clamp makes a secret of Curve25519 of 32 bytes, as curve25519_gen_secret and key parsers do.
func clamp(key Key) Key {
	key[0] &= 248
	key[31] = key[31]&127 | 64
	return key
}

func generateKey() Key {
	var key Key
	// crypto/rand.Read never fails: it ends the process instead.
	_, _ = rand.Read(key[:])
	return clamp(key)
}

func publicKey(private Key) (Key, error) {
	secret, err := ecdh.X25519().NewPrivateKey(private[:])
	if err != nil {
		return Key{}, err
	}
	return toKey(secret.PublicKey().Bytes()), nil
}

// tunnel is what a WireGuard interface has besides.
type tunnel struct {
	instance uint32
	private  Key
	public   Key
	port     uint16
	source   netip.Addr
}

// peer of a tunnel. Peers of all tunnels share one pool, and a public key is in it once.
type peer struct {
	index       uint32
	link        *link
	public      Key
	endpoint    netip.AddrPort
	keepalive   uint16
	table       uint32
	allowed     []netip.Prefix
	established bool
	// handshake is when keys were last exchanged.
	handshake time.Time
	// watchers asked for this peer's events.
	watchers map[uint32]*apisocket.Client
}

func (p *peer) flags() wireguard.WireguardPeerFlags {
	if p.established {
		return wireguard.WIREGUARD_PEER_ESTABLISHED
	}
	return 0
}

// setEstablished changes the flag and tells who asked for it.
func (p *peer) setEstablished(established bool) {
	if p.established == established {
		return
	}
	p.established = established
	for _, client := range p.watchers {
		client.Event(&wireguard.WireguardPeerEvent{PeerIndex: p.index, Flags: p.flags()})
	}
}

// addTunnel makes a WireGuard interface. An instance of none takes the first free one.
func (s *state) addTunnel(instance uint32, private Key, port uint16, source netip.Addr) (*link, int32) {
	taken := map[uint32]bool{}
	for _, l := range s.links {
		if l.tunnel != nil {
			taken[l.tunnel.instance] = true
		}
	}
	if instance == none {
		for instance = 0; taken[instance]; instance++ {
		}
	}
	if taken[instance] {
		return nil, int32(api.INVALID_REGISTRATION)
	}
	public, err := publicKey(private)
	if err != nil {
		return nil, int32(api.INVALID_REGISTRATION)
	}
	l := &link{
		name: fmt.Sprintf("wg%d", instance), kind: kindWireGuard, devType: "Wireguard Tunnel",
		tunnel: &tunnel{instance: instance, private: private, public: public, port: port, source: source},
	}
	s.addLink(l)
	return l, 0
}

func (s *state) removeTunnel(l *link) {
	for index, p := range s.peers {
		if p.link == l {
			s.removePeer(index)
		}
	}
	s.removeLink(l)
}

func (s *state) addPeer(p *peer) int32 {
	if len(p.allowed) == 0 {
		return int32(api.INVALID_VALUE)
	}
	for _, other := range s.peers {
		if other.public == p.public {
			return int32(api.ENTRY_ALREADY_EXISTS)
		}
	}
	for p.index = 0; s.peers[p.index] != nil; p.index++ {
	}
	p.watchers = map[uint32]*apisocket.Client{}
	s.peers[p.index] = p
	p.link.setFeature(featureKey{"ip4-output", "wg4-output-tun"}, true)
	p.link.setFeature(featureKey{"ip6-output", "wg6-output-tun"}, true)
	return 0
}

func (s *state) removePeer(index uint32) int32 {
	p := s.peers[index]
	if p == nil {
		return int32(api.NO_SUCH_ENTRY)
	}
	delete(s.peers, index)
	p.setEstablished(false)
	for _, other := range s.peers {
		if other.link == p.link {
			return 0
		}
	}
	p.link.setFeature(featureKey{"ip4-output", "wg4-output-tun"}, false)
	p.link.setFeature(featureKey{"ip6-output", "wg6-output-tun"}, false)
	return 0
}

// endSessions of the tunnel's peers: it went down.
func (s *state) endSessions(l *link) {
	for _, p := range s.peers {
		if p.link == l {
			p.setEstablished(false)
			p.handshake = time.Time{}
		}
	}
}

// tunnels by interface index.
func (s *state) tunnels() []*link {
	return slices.DeleteFunc(s.sortedLinks(), func(l *link) bool { return l.tunnel == nil })
}

func wireguardHandlers(put func(string, handler)) {
	put(on(func(s *state, request *wireguard.WireguardInterfaceCreate) []api.Message {
		private := toKey(request.Interface.PrivateKey)
		if request.GenerateKey {
			private = generateKey()
		}
		l, retval := s.addTunnel(request.Interface.UserInstance, private, request.Interface.Port, toAddr(request.Interface.SrcIP))
		if retval != 0 {
			return []api.Message{&wireguard.WireguardInterfaceCreateReply{Retval: retval, SwIfIndex: interface_types.InterfaceIndex(none)}}
		}
		return []api.Message{&wireguard.WireguardInterfaceCreateReply{SwIfIndex: interface_types.InterfaceIndex(l.index)}}
	}))
	put(on(func(s *state, request *wireguard.WireguardInterfaceDelete) []api.Message {
		l := s.link(request.SwIfIndex)
		if l == nil || l.tunnel == nil {
			return []api.Message{&wireguard.WireguardInterfaceDeleteReply{Retval: int32(api.INVALID_SW_IF_INDEX)}}
		}
		s.removeTunnel(l)
		return []api.Message{&wireguard.WireguardInterfaceDeleteReply{}}
	}))
	put(on((*state).dumpTunnels))
	put(on(func(s *state, request *wireguard.WireguardPeerAdd) []api.Message {
		asked := request.Peer
		l := s.link(asked.SwIfIndex)
		if l == nil || l.tunnel == nil {
			return []api.Message{&wireguard.WireguardPeerAddReply{Retval: int32(api.INVALID_SW_IF_INDEX), PeerIndex: none}}
		}
		p := &peer{
			link: l, public: toKey(asked.PublicKey), endpoint: netip.AddrPortFrom(toAddr(asked.Endpoint), asked.Port),
			keepalive: asked.PersistentKeepalive, table: asked.TableID,
		}
		for _, prefix := range asked.AllowedIps {
			p.allowed = append(p.allowed, toPrefix(prefix))
		}
		if retval := s.addPeer(p); retval != 0 {
			return []api.Message{&wireguard.WireguardPeerAddReply{Retval: retval, PeerIndex: none}}
		}
		return []api.Message{&wireguard.WireguardPeerAddReply{PeerIndex: p.index}}
	}))
	put(on(func(s *state, request *wireguard.WireguardPeerRemove) []api.Message {
		return []api.Message{&wireguard.WireguardPeerRemoveReply{Retval: s.removePeer(request.PeerIndex)}}
	}))
	put(on((*state).dumpPeers))
	put(onClient((*state).watchPeers))
	put(on(func(_ *state, _ *wireguard.WgSetAsyncMode) []api.Message {
		return []api.Message{&wireguard.WgSetAsyncModeReply{}}
	}))
}

func (s *state) dumpTunnels(request *wireguard.WireguardInterfaceDump) []api.Message {
	var details []api.Message
	for _, l := range s.tunnels() {
		if uint32(request.SwIfIndex) != none && uint32(request.SwIfIndex) != l.index {
			continue
		}
		var private Key
		if request.ShowPrivateKey {
			private = l.tunnel.private
		}
		details = append(details, &wireguard.WireguardInterfaceDetails{Interface: wireguard.WireguardInterface{
			UserInstance: l.tunnel.instance, SwIfIndex: interface_types.InterfaceIndex(l.index), PrivateKey: private[:],
			PublicKey: slices.Clone(l.tunnel.public[:]), Port: l.tunnel.port, SrcIP: fromAddr(l.tunnel.source),
		}})
	}
	return details
}

func (s *state) dumpPeers(request *wireguard.WireguardPeersDump) []api.Message {
	var details []api.Message
	for _, p := range sortedByKey(s.peers) {
		if request.PeerIndex != none && request.PeerIndex != p.index {
			continue
		}
		shown := wireguard.WireguardPeer{
			PeerIndex: p.index, PublicKey: slices.Clone(p.public[:]), Port: p.endpoint.Port(), PersistentKeepalive: p.keepalive,
			TableID: p.table, Endpoint: fromAddr(p.endpoint.Addr()), SwIfIndex: interface_types.InterfaceIndex(p.link.index), Flags: p.flags(),
		}
		for _, prefix := range p.allowed {
			shown.AllowedIps = append(shown.AllowedIps, fromPrefix(prefix))
		}
		details = append(details, &wireguard.WireguardPeersDetails{Peer: shown})
	}
	return details
}

// watchPeers subscribes the client to the peers there are now; later ones are not included, as in VPP
// (vpp/src/plugins/wireguard/wireguard_api.c, wg_api_update_peer_api_client).
func (s *state) watchPeers(client *apisocket.Client, request *wireguard.WantWireguardPeerEvents) []api.Message {
	for _, p := range s.peers {
		if request.PeerIndex != none && request.PeerIndex != p.index {
			continue
		}
		if uint32(request.SwIfIndex) != none && uint32(request.SwIfIndex) != p.link.index {
			continue
		}
		if request.EnableDisable != 0 {
			p.watchers[client.Index()] = client
		} else {
			delete(p.watchers, client.Index())
		}
	}
	return []api.Message{&wireguard.WantWireguardPeerEventsReply{}}
}

// peerFor finds the peer of the tunnel whose allowed prefixes have the address; the longest wins, then the older peer.
func (s *state) peerFor(l *link, address netip.Addr) *peer {
	var best *peer
	bits := -1
	for _, p := range sortedByKey(s.peers) {
		for _, prefix := range p.allowed {
			if p.link == l && prefix.Contains(address) && cmp.Compare(prefix.Bits(), bits) > 0 {
				best, bits = p, prefix.Bits()
			}
		}
	}
	return best
}
