// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package calicoagent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/calicoagent/vppapi"
)

const (
	// DefaultStartupSleep is how long vpp-manager waits before it lets the agent begin: vppStartupSleepSeconds.
	DefaultStartupSleep = 3 * time.Second
	// DefaultBGPDelay is how long the agent's BGP takes until routes come, measured.
	DefaultBGPDelay = 5 * time.Second
	// restartDelay between attempts when VPP is not there, or was lost.
	restartDelay = 500 * time.Millisecond
	// pingInterval between checks whether VPP is still there.
	pingInterval = time.Second
)

// Config of an agent.
type Config struct {
	// Node that the agent runs on.
	Node string
	// Socket of VPP's binary API.
	Socket string
	// Client of the workload cluster.
	Client kubernetes.Interface
	// Port of WireGuard on every node. Zero is encryption.DefaultPort.
	Port uint16
	// StartupSleep after VPP answers. Zero is DefaultStartupSleep.
	StartupSleep time.Duration
	// BGPDelay until routes come. Zero is DefaultBGPDelay.
	BGPDelay time.Duration
	// IPsecPSK is the pre-shared key of IPsec, which takes the place of WireGuard. Empty without it.
	IPsecPSK string
	// Uplink to configure when VPP has none yet; nil when somebody else does it.
	Uplink *Uplink
	// Connect plays the CNI plugin, which connects pods whenever the agent begins: it must get along with pods that are connected
	// already. Nil connects none.
	Connect func(ctx context.Context, vpp *vppapi.VPP) error
	// Withheld reports whether the key of a node is kept from the agent, as by a Felix that stands still. Nil keeps none.
	Withheld func(node string) bool
	Log      *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Port == 0 {
		c.Port = encryption.DefaultPort
	}
	if c.StartupSleep == 0 {
		c.StartupSleep = DefaultStartupSleep
	}
	if c.BGPDelay == 0 {
		c.BGPDelay = DefaultBGPDelay
	}
	if c.Connect == nil {
		c.Connect = func(context.Context, *vppapi.VPP) error { return nil }
	}
	if c.Withheld == nil {
		c.Withheld = func(string) bool { return false }
	}
	return c
}

// Agent plays the Calico-VPP agent of one node.
type Agent struct {
	config  Config
	store   cache.Store
	synced  func() bool
	changed chan struct{}
	ready   atomic.Bool
}

// Ready reports whether the agent serves connectivity.
func (a *Agent) Ready() bool {
	return a.ready.Load()
}

// New makes an agent.
func New(config Config) *Agent {
	return &Agent{config: config.withDefaults(), changed: make(chan struct{}, 1)}
}

// Poke makes the agent look again, for example because Withheld has changed.
func (a *Agent) Poke() {
	select {
	case a.changed <- struct{}{}:
	default: // One is waiting to be read.
	}
}

// Run plays the agent until the context ends: it starts again whenever VPP was lost, as the pod does.
func (a *Agent) Run(ctx context.Context) error {
	factory := informers.NewSharedInformerFactory(a.config.Client, 0)
	nodes := factory.Core().V1().Nodes().Informer()
	if _, err := nodes.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { a.Poke() },
		UpdateFunc: func(any, any) { a.Poke() },
		DeleteFunc: func(any) { a.Poke() },
	}); err != nil {
		return err
	}
	a.store, a.synced = nodes.GetStore(), nodes.HasSynced
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	for ctx.Err() == nil {
		if err := a.run(ctx); err != nil && ctx.Err() == nil {
			a.config.Log.Info("The agent starts again", "reason", err)
		}
		pause(ctx, restartDelay)
	}
	return nil
}

// run is one life of the agent, which ends with VPP.
func (a *Agent) run(ctx context.Context) error {
	vpp, err := vppapi.Connect(a.config.Socket)
	if err != nil {
		return err
	}
	defer vpp.Close()
	pause(ctx, a.config.StartupSleep)
	own, err := a.await(ctx, vpp)
	if err != nil {
		return err
	}
	if a.config.Uplink != nil {
		if _, err := findUplink(ctx, vpp); err != nil {
			if err := ConfigureUplink(ctx, vpp, *a.config.Uplink); err != nil {
				return err
			}
		}
	}
	uplink, err := findUplink(ctx, vpp)
	if err != nil {
		return err
	}
	c := newConnectivity(a.config, vpp, uplink, own.address)
	if err := c.rescan(ctx); err != nil {
		return err
	}
	if err := c.enable(ctx); err != nil {
		return err
	}
	if c.wireguard.tunnel != nil {
		a.publish(ctx, c.wireguard.tunnel.public)
	}
	if err := a.config.Connect(ctx, vpp); err != nil {
		return fmt.Errorf("connect pods: %w", err)
	}
	return a.serve(ctx, vpp, c)
}

// await waits until the Nodes are known, among them the agent's own.
func (a *Agent) await(ctx context.Context, vpp *vppapi.VPP) (node, error) {
	for ctx.Err() == nil {
		if a.synced() {
			for _, n := range a.nodes() {
				if n.name == a.config.Node && n.address.IsValid() {
					return n, nil
				}
			}
		}
		if _, err := vpp.Interfaces(ctx); err != nil {
			return node{}, err
		}
		pause(ctx, 100*time.Millisecond)
	}
	return node{}, ctx.Err()
}

// publish writes the key to the Node: once, and what goes wrong is logged only.
func (a *Agent) publish(ctx context.Context, key string) {
	nodes := a.config.Client.CoreV1().Nodes()
	own, err := nodes.Get(ctx, a.config.Node, metav1.GetOptions{})
	if err == nil {
		if own.Annotations == nil {
			own.Annotations = map[string]string{}
		}
		own.Annotations[encryption.PublicKeyAnnotation] = key
		_, err = nodes.UpdateStatus(ctx, own, metav1.UpdateOptions{})
	}
	if err != nil {
		a.config.Log.Error("Wireguard: publish PublicKey error", "error", err)
		return
	}
	a.config.Log.Info("Wireguard publishing", "nodeName", a.config.Node, "pubKey", key)
}

// serve keeps connectivity as the Nodes ask for until VPP is lost.
func (a *Agent) serve(ctx context.Context, vpp *vppapi.VPP, c *connectivity) error {
	a.ready.Store(true)
	defer a.ready.Store(false)
	bgp := time.NewTimer(a.config.BGPDelay)
	defer bgp.Stop()
	ping := time.NewTicker(pingInterval)
	defer ping.Stop()
	up := false
	for {
		c.learn(a.nodes())
		if up {
			if err := c.update(ctx, a.nodes()); err != nil {
				a.config.Log.Error("Error while updating connectivity", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.changed:
		case <-bgp.C:
			up = true
			a.config.Log.Info("BGP Peer Up")
		case <-ping.C:
			if _, err := vpp.Interfaces(ctx); err != nil {
				return errors.Join(errors.New("VPP is gone"), err)
			}
			if err := c.retry(ctx); err != nil {
				a.config.Log.Error("Error while retrying connectivity", "error", err)
			}
		}
	}
}

// node is what the agent knows of a Node.
type node struct {
	name    string
	address netip.Addr
	// block of the node's pods.
	block netip.Prefix
	// key that the Node publishes; empty when there is none.
	key string
}

// nodes as the API server has them.
func (a *Agent) nodes() []node {
	var nodes []node
	for _, item := range a.store.List() {
		object, ok := item.(*corev1.Node)
		if !ok {
			continue
		}
		n := node{name: object.Name, address: nodeAddress(object)}
		if !a.config.Withheld(object.Name) {
			n.key = object.Annotations[encryption.PublicKeyAnnotation]
		}
		if block, err := netip.ParsePrefix(object.Spec.PodCIDR); err == nil {
			n.block = block.Masked()
		}
		nodes = append(nodes, n)
	}
	return nodes
}

// nodeAddress is that which Calico uses, else the Node's first internal one.
func nodeAddress(object *corev1.Node) netip.Addr {
	if prefix, err := netip.ParsePrefix(object.Annotations[encryption.AddressAnnotation]); err == nil {
		return prefix.Addr()
	}
	for _, address := range object.Status.Addresses {
		if parsed, err := netip.ParseAddr(address.Address); err == nil && parsed.Is4() && address.Type == corev1.NodeInternalIP {
			return parsed
		}
	}
	return netip.Addr{}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// String names the node for logs.
func (n node) String() string {
	return fmt.Sprintf("%s (%s, pods %s)", n.name, n.address, n.block)
}
