// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package vpp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap"
	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap/hostnet"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/calico"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/calicoagent"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/calicoagent/vppapi"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/cloudinit"
)

// host is a host of the cluster: VPP, the Calico agent and the node agent.
type host struct {
	place
	node
	block netip.Prefix
	other *host
	// protocol of encryption, with the host's own key of WireGuard or the pre-shared key of IPsec.
	protocol encryption.Protocol
	private  wgtypes.Key
	psk      string

	calico     *calicoagent.Agent
	stopCalico context.CancelFunc
	calicoDone chan struct{}
	// withheld keeps the other host's key from the Calico agent.
	withheld atomic.Bool
	agent    *exec.Cmd
	// agentLog is what all runs of the agent have printed.
	agentLog bytes.Buffer
}

// newPlace makes the place of host number 1 or 2, with the files that its user data brings.
func newPlace(cluster string, number int) place {
	GinkgoHelper()
	// Paths of sockets are short.
	root, err := os.MkdirTemp("", "vpp")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(os.RemoveAll, root)
	for _, dir := range []string{"etc", "run", "agent"} {
		Expect(os.Mkdir(filepath.Join(root, dir), 0o700)).To(Succeed())
	}
	// The fake finds /etc/vpp below its root.
	Expect(os.Symlink(".", filepath.Join(root, "etc", "vpp"))).To(Succeed())
	return place{
		root: root, name: fmt.Sprintf("%s-%d", cluster, number), number: number,
		address: netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(20 + number)}), 24),
		podAddr: netip.AddrFrom4([4]byte{10, 244, byte(number), 10}),
	}
}

// testKey is one of nobody's keys: generation differs between keys of the same host.
func testKey(number, generation int) wgtypes.Key {
	return wgtypes.Key{0: 8, 1: byte(number), 2: byte(generation), 31: 64}
}

// install writes what cloud-init writes to the host, and what vpp-manager does.
func (h *host) install(key wgtypes.Key) {
	GinkgoHelper()
	h.private = key
	if h.protocol == encryption.WireGuard {
		h.write(encryption.VPPExecFile, h.composed(encryption.VPPExecFile))
	}
	h.write(calico.VPPStartupExecFile, []byte(calico.StartupExec(h.protocol, infrav1.EncryptionRequired, []string{podRange.String()})+"\n"))
	h.write("/etc/vpp/startup.conf", []byte(calico.StartupConfig(*h.dataplane().VPP)))
}

func (h *host) write(path string, content []byte) {
	GinkgoHelper()
	Expect(os.WriteFile(filepath.Join(h.root, "etc", filepath.Base(path)), content, 0o600)).To(Succeed())
}

// dataplane of the cluster, with a heap and buffers for a small host: everything else is the default.
func (h *host) dataplane() infrav1.Dataplane {
	return calico.Defaults(calico.Input{
		Dataplane: infrav1.Dataplane{Type: infrav1.DataplaneCalicoVPP, VPP: &infrav1.VPP{Buffers: 16384}},
		Network:   h.network(), Uplink: uplinkName, PodCIDRs: []string{podRange.String()}, ServiceCIDRs: []string{serviceRange},
	})
}

func (h *host) network() infrav1.Network {
	return infrav1.Network{
		Name: "cluster", Subnets: []infrav1.Subnet{{CIDR: h.address.Masked().String(), Gateway: "192.0.2.1"}},
		Addresses: infrav1.AddressSource{FromHost: &infrav1.FromHost{}},
	}
}

// composed is a file of the user data that the product composes for the host.
func (h *host) composed(path string) []byte {
	GinkgoHelper()
	plan, err := hostnet.NewPlan(hostnet.Input{
		Links:      []infrav1.Link{{Name: uplinkName, Match: &infrav1.NICMatch{BootNIC: new(true)}}},
		Interfaces: []infrav1.Interface{{Network: "cluster", Link: uplinkName}},
		Networks:   []infrav1.Network{h.network()},
		Hardware:   &bmov1.HardwareDetails{NIC: []bmov1.NIC{{Name: "eno1", MAC: "52:54:00:00:00:01", PXE: true}}},
		BootMAC:    "52:54:00:00:00:01",
		Addresses:  map[string]netip.Addr{"cluster": h.address.Addr()},
	})
	Expect(err).NotTo(HaveOccurred())
	out, err := bootstrap.Render(bootstrap.Input{
		Payload: bootstrap.Payload{Format: "cloud-config", Value: []byte("#cloud-config\nruncmd: [kubeadm join]\n")},
		Cluster: "edge", Namespace: "sites", Machine: h.name, InstanceID: h.name, Host: h.name, ProviderID: "edgemetal://sites/" + h.name,
		Plan: plan,
		Dataplane: &bootstrap.Dataplane{
			Type: infrav1.DataplaneCalicoVPP, Network: "cluster", HoldPods: true,
			WireGuard: &bootstrap.WireGuard{PrivateKey: bootstrap.PrivateKey(h.private.String()), Port: portWireGuard},
		},
	})
	Expect(err).NotTo(HaveOccurred())
	parsed, err := cloudinit.Parse(out.UserData, map[string]any{})
	Expect(err).NotTo(HaveOccurred())
	for _, file := range parsed.Files(false) {
		if file.Path == path {
			Expect(file.Mode.Perm()).To(Equal(os.FileMode(0o600)))
			return file.Content
		}
	}
	Fail("the user data has no file " + path)
	return nil
}

// boot starts VPP, and does what vpp-manager does then.
func (h *host) boot(ctx context.Context) {
	GinkgoHelper()
	Expect(h.start(ctx)).To(Succeed())
	vpp, err := vppapi.Connect(h.socket())
	Expect(err).NotTo(HaveOccurred())
	defer vpp.Close()
	Expect(calicoagent.ConfigureUplink(ctx, vpp, calicoagent.Uplink{
		HostInterface: uplinkName, Address: h.address, Gateway: netip.MustParseAddr("192.0.2.1"), MTU: linkMTU,
	})).To(Succeed())
}

// connect does what the CNI plugin does for the host's pod.
func (h *host) connect(ctx context.Context, vpp *vppapi.VPP) error {
	gateway, err := calicoagent.ConnectPod(ctx, vpp, h.pod())
	if err != nil {
		return err
	}
	return h.connected(gateway)
}

// runCalico starts the Calico agent; it ends with the specs.
func (h *host) runCalico() {
	psk := ""
	if h.protocol == encryption.IPsec {
		psk = h.psk
	}
	h.calico = calicoagent.New(calicoagent.Config{
		Node: h.name, Socket: h.socket(), Client: client, BGPDelay: bgpDelay, Connect: h.connect, IPsecPSK: psk,
		Withheld: func(name string) bool { return name == h.other.name && h.withheld.Load() },
		Log:      slog.New(slog.NewTextHandler(GinkgoWriter, nil)).With("calico", h.name),
	})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	h.stopCalico, h.calicoDone = stop, done
	go func() {
		defer close(done)
		_ = h.calico.Run(ctx)
	}()
}

// runAgent starts the node agent as the DaemonSet does.
func (h *host) runAgent() {
	GinkgoHelper()
	h.agent = exec.Command(agentBinary,
		"--node-name", h.name, "--kubeconfig", kubeconfig, "--vpp-socket", h.socket(), "--vpp-stats-socket", h.statsSocket(),
		"--pod-cidrs", podRange.String(), "--service-cidrs", serviceRange, "--key-file", filepath.Join(h.root, "etc", filepath.Base(encryption.VPPExecFile)),
		"--run-dir", h.runDir(), "--metrics-bind-address", "", "--protocol", string(h.protocol),
	)
	log := io.MultiWriter(GinkgoWriter, &h.agentLog)
	h.agent.Stdout, h.agent.Stderr = log, log
	h.agent.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	Expect(h.agent.Start()).To(Succeed())
}

func (h *host) runDir() string { return filepath.Join(h.root, "agent") }

// killAgent ends the node agent without a chance to tidy up.
func (h *host) killAgent() {
	if h.agent != nil {
		_ = h.agent.Process.Kill()
		_ = h.agent.Wait()
		h.agent = nil
	}
}

// shutdown ends everything on the host.
func (h *host) shutdown() {
	h.killAgent()
	h.endCalico()
	h.stop()
}

// endCalico ends the Calico agent, and leaves VPP as it is.
func (h *host) endCalico() {
	if h.stopCalico != nil {
		h.stopCalico()
		<-h.calicoDone
		h.stopCalico = nil
	}
}

// vpp is a connection to VPP for one look or one change.
func (h *host) vpp(use func(*vppapi.VPP)) {
	GinkgoHelper()
	vpp, err := vppapi.Connect(h.socket())
	Expect(err).NotTo(HaveOccurred())
	defer vpp.Close()
	use(vpp)
}
