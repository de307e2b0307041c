// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/agent"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/agent/hostkey"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/agent/vpp"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/calicoagent"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/calicoagent/vppapi"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/fakevpp"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/tools"
)

// shown is how long a change may take until the Node tells it; less than agent.Grace, so that what must be told at once is.
const shown = 45 * time.Second

// startServer runs an API server without anything of ours, and returns an administrator's access, also as a kubeconfig file.
func startServer(t *testing.T) (config *rest.Config, kubeconfig string) {
	t.Helper()
	root, err := tools.Root()
	if err != nil {
		t.Fatal(err)
	}
	assets, err := tools.Toolbox{Root: root, Out: os.Stderr}.Assets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	environment := &envtest.Environment{BinaryAssetsDirectory: assets, ControlPlaneStartTimeout: 3 * time.Minute, ControlPlaneStopTimeout: time.Minute}
	config, err = environment.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := environment.Stop(); err != nil {
			t.Log(err)
		}
	})
	config.QPS, config.Burst = 1000, 2000
	user, err := environment.AddUser(envtest.User{Name: "admin", Groups: []string{"system:masters"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	content, err := user.KubeConfig()
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return config, kubeconfig
}

// host is a node: its VPP, the part of Calico on it, and the agent under test.
type host struct {
	t       *testing.T
	name    string
	address netip.Addr
	key     wgtypes.Key
	client  kubernetes.Interface
	config  *rest.Config
	vpp     *fakevpp.VPP
	calico  *calicoagent.Agent
	dir     string
	keyFile string
	log     *logBuffer

	mu       sync.Mutex
	withheld string
	// held is open while Calico must not begin.
	held  chan struct{}
	stop  context.CancelFunc
	agent *agent.Agent
	done  chan struct{}
}

// logBuffer collects what agents log.
type logBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.String()
}

// newHost makes a Ready Node that publishes its key, as the manager does, and starts everything on it.
func newHost(t *testing.T, config *rest.Config, wire fakevpp.Wire, number byte) *host {
	t.Helper()
	return newHostWith(t, config, wire, number, false)
}

// newHostWith leaves it to a test to run an agent of its own.
func newHostWith(t *testing.T, config *rest.Config, wire fakevpp.Wire, number byte, own bool) *host {
	t.Helper()
	key, err := wgtypes.GeneratePrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	// Sockets have short paths only.
	dir, err := os.MkdirTemp("", "agent") //nolint:usetesting // As above.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	h := &host{
		t: t, name: fmt.Sprintf("node-%d", number), address: netip.AddrFrom4([4]byte{192, 0, 2, number}), key: key, config: config,
		client: kubernetes.NewForConfigOrDie(config), dir: dir, keyFile: filepath.Join(dir, "wireguard.exec"), log: &logBuffer{},
	}
	h.writeKey()
	h.createNode(number)
	h.vpp = fakevpp.New(fakevpp.Config{
		Socket: h.socket(), Exec: h.keyFile, ExecDelay: 500 * time.Millisecond, Wire: wire,
		Uplink: &fakevpp.Uplink{Name: "uplink0", Address: netip.PrefixFrom(h.address, 24), Gateway: netip.MustParseAddr("192.0.2.254")},
	})
	if !own {
		h.startAgent()
	}
	if err := h.vpp.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.vpp.Stop)
	h.calico = calicoagent.New(calicoagent.Config{
		Node: h.name, Socket: h.socket(), Client: h.client, StartupSleep: 2 * time.Second, BGPDelay: time.Second,
		Withheld: h.isWithheld, Connect: h.awaitRelease, Log: slog.New(slog.NewTextHandler(h.log, nil)),
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = h.calico.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return h
}

func (h *host) socket() string { return filepath.Join(h.dir, "api.sock") }

func (h *host) writeKey() {
	line := fmt.Sprintf("wireguard create listen-port %d private-key %s src %s instance 0\n", encryption.DefaultPort, h.key, h.address)
	if err := os.WriteFile(h.keyFile, []byte(line), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) createNode(number byte) {
	h.t.Helper()
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: h.name, Annotations: map[string]string{encryption.PublicKeyAnnotation: h.key.PublicKey().String()}},
		Spec: corev1.NodeSpec{
			PodCIDR: fmt.Sprintf("10.244.%d.0/26", number), PodCIDRs: []string{fmt.Sprintf("10.244.%d.0/26", number)},
			Taints: []corev1.Taint{
				{Key: encryption.NotReadyTaint, Effect: corev1.TaintEffectNoSchedule},
				{Key: "example.com/others", Effect: corev1.TaintEffectNoSchedule},
			},
		},
	}
	node, err := h.client.CoreV1().Nodes().Create(h.t.Context(), node, metav1.CreateOptions{})
	if err != nil {
		h.t.Fatal(err)
	}
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: h.address.String()}}
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}}
	if _, err := h.client.CoreV1().Nodes().UpdateStatus(h.t.Context(), node, metav1.UpdateOptions{}); err != nil {
		h.t.Fatal(err)
	}
}

// becomeReady as if the Node had become ready now.
func (h *host) becomeReady() {
	h.t.Helper()
	patch := fmt.Sprintf(`{"status":{"conditions":[{"type":"Ready","status":"True","lastTransitionTime":%q}]}}`, time.Now().UTC().Format(time.RFC3339))
	if _, err := h.client.CoreV1().Nodes().Patch(context.Background(), h.name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "status"); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) startAgent() {
	h.t.Helper()
	client, err := agent.NewClient(h.config)
	if err != nil {
		h.t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(io.MultiWriter(h.log, h.t.Output()), nil)).With("node", h.name)
	backend := vpp.New(h.socket(), "", func() encryption.Hugepages { return encryption.Hugepages{Known: true} }, log)
	h.agent = agent.New(agent.Config{
		Node: h.name, Mode: encryption.ModeRequired, Protocol: encryption.WireGuard, Port: encryption.DefaultPort,
		PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}, ServiceCIDRs: []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12")},
		RxMode: encryption.RxInterrupt, HugepagesForbidden: true,
	}, backend, client, hostkey.NewFile(h.keyFile).PublicKey, log)
	ctx, cancel := context.WithCancel(context.Background())
	h.stop, h.done = cancel, make(chan struct{})
	done := h.done
	go func() {
		defer close(done)
		_ = h.agent.Run(ctx)
	}()
	h.t.Cleanup(func() { cancel(); <-done })
}

func (h *host) isWithheld(node string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return node == h.withheld
}

// holdCalico keeps Calico from routing anything when VPP is there the next time, until the function that it returns is called.
func (h *host) holdCalico() func() {
	h.mu.Lock()
	defer h.mu.Unlock()
	held := make(chan struct{})
	h.held = held
	return sync.OnceFunc(func() { close(held) })
}

// awaitRelease is called before Calico routes anything.
func (h *host) awaitRelease(ctx context.Context, _ *vppapi.VPP) error {
	h.mu.Lock()
	held := h.held
	h.mu.Unlock()
	if held == nil {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-held:
		return nil
	}
}

func (h *host) withhold(node string) {
	h.mu.Lock()
	h.withheld = node
	h.mu.Unlock()
	h.calico.Poke()
}

func (h *host) node() *corev1.Node {
	h.t.Helper()
	node, err := h.client.CoreV1().Nodes().Get(context.Background(), h.name, metav1.GetOptions{})
	if err != nil {
		h.t.Fatal(err)
	}
	return node
}

// await waits until the Node tells the reason and has or has not got the taint, and returns the condition.
func (h *host) await(reason string) corev1.NodeCondition {
	h.t.Helper()
	return h.awaitMessage(reason, func(string) bool { return true })
}

// awaitSessions waits until the Node tells that it is encrypted and that no handshake is awaited: before the first one with a node that
// is new it is encrypted, too, and what would go there is dropped.
func (h *host) awaitSessions() {
	h.t.Helper()
	h.awaitMessage(encryption.ReasonEncrypted, func(message string) bool {
		return strings.HasPrefix(message, "Traffic to ") && !strings.Contains(message, "awaited")
	})
}

// awaitGuard waits until VPP filters what leaves the host.
func (h *host) awaitGuard() {
	h.t.Helper()
	for deadline := time.Now().Add(shown); ; time.Sleep(50 * time.Millisecond) {
		out, err := h.vpp.CLI("show acl-plugin interface")
		if err != nil {
			h.t.Fatal(err)
		}
		if strings.Contains(out, "output acl(s): ") {
			return
		}
		if time.Now().After(deadline) {
			h.t.Fatal("there is no guard:\n" + out)
		}
	}
}

// awaitMessage is await for a message that will do.
func (h *host) awaitMessage(reason string, will func(message string) bool) corev1.NodeCondition {
	h.t.Helper()
	started := time.Now()
	for {
		node := h.node()
		i := slices.IndexFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool { return c.Type == encryption.NodeCondition })
		tainted := slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool { return t.Key == encryption.NotReadyTaint })
		if i >= 0 && node.Status.Conditions[i].Reason == reason && tainted == (reason != encryption.ReasonEncrypted) && will(node.Status.Conditions[i].Message) {
			if !slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool { return t.Key == "example.com/others" }) {
				h.t.Errorf("%s has lost a taint of others", h.name)
			}
			h.t.Logf("%s: %s after %v: %s", h.name, reason, time.Since(started).Round(10*time.Millisecond), node.Status.Conditions[i].Message)
			return node.Status.Conditions[i]
		}
		if time.Since(started) > shown {
			h.t.Fatalf("%s: want %s, got %+v, taints %+v", h.name, reason, node.Status.Conditions, node.Spec.Taints)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// restartVPP restarts it, and waits until the Node tells that it is not encrypted, unless the agent is away.
func (h *host) restartVPP() {
	h.t.Helper()
	if err := h.vpp.Restart(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	select {
	case <-h.done:
		return
	default:
	}
	deadline := time.Now().Add(shown)
	for !slices.ContainsFunc(h.node().Spec.Taints, func(t corev1.Taint) bool { return t.Key == encryption.NotReadyTaint }) {
		if time.Now().After(deadline) {
			h.t.Fatal("VPP restarted, and nobody noticed")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// send sends from a pod of the host to one of another.
func (h *host) send(to *host) fakevpp.Verdict {
	h.t.Helper()
	verdict, err := h.vpp.Send(fakevpp.Packet{
		Source:      netip.AddrFrom4([4]byte{10, 244, h.address.As4()[3], 1}),
		Destination: netip.AddrFrom4([4]byte{10, 244, to.address.As4()[3], 1}),
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return verdict
}

func (h *host) annotate(key, value string) {
	h.t.Helper()
	var set any
	if value != "" {
		set = value
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]any{key: set}}})
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := h.client.CoreV1().Nodes().Patch(h.t.Context(), h.name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		h.t.Fatal(err)
	}
}
