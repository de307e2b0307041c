// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package vpp

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/calicoagent"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/calicoagent/vppapi"
)

const (
	linkMTU = 1500
	// uplinkName, hostPodName and podName are interfaces of a host's namespace and of a pod's.
	uplinkName  = "uplink0"
	hostPodName = "pod0"
	podName     = "eth0"
	// startTimeout until VPP answers.
	startTimeout = 60 * time.Second
)

// podGateway is the next hop that Calico gives to pods.
var podGateway = netip.MustParseAddr("169.254.1.1")

// realNode runs VPP in a network namespace, with a pod in another one.
type realNode struct {
	place
	host, podNamespace *namespace
	podMAC             [6]byte
	sniffer            *sniffer
	process            *exec.Cmd
	log                io.WriteCloser
	exited             chan struct{}
}

// newRealNodes makes the namespaces, joins them, and begins to capture. All is removed when the spec ends.
func newRealNodes(_ context.Context, a, b place) (node, node, error) {
	first, err := newRealNode(a)
	if err != nil {
		return nil, nil, err
	}
	second, err := newRealNode(b)
	if err != nil {
		return nil, nil, err
	}
	if err := connect(first.host, uplinkName, second.host, uplinkName); err != nil {
		return nil, nil, err
	}
	for _, n := range []*realNode{first, second} {
		if n.sniffer, err = newSniffer(n.host, uplinkName); err != nil {
			return nil, nil, err
		}
		DeferCleanup(n.sniffer.close)
	}
	return first, second, nil
}

func newRealNode(p place) (*realNode, error) {
	n := &realNode{place: p}
	var err error
	if n.host, err = newNamespace(fmt.Sprintf("em%d-%s", os.Getpid(), p.name)); err != nil {
		return nil, err
	}
	DeferCleanup(n.host.remove)
	if n.podNamespace, err = newNamespace(n.host.name + "-pod"); err != nil {
		return nil, err
	}
	DeferCleanup(n.podNamespace.remove)
	if err := connect(n.host, hostPodName, n.podNamespace, podName); err != nil {
		return nil, err
	}
	n.podMAC, err = n.podNamespace.configurePod(podName, p.podAddr)
	return n, err
}

// start runs VPP with the host's /etc/vpp and /run/vpp, which it sees at their own places: its configuration is used as it is rendered.
func (n *realNode) start(ctx context.Context) error {
	script := fmt.Sprintf("set -e; for d in run etc; do mount -t tmpfs none /$d; mkdir /$d/vpp; mount --bind %s/$d /$d/vpp; done; "+
		"exec vpp -c /etc/vpp/startup.conf", n.root)
	log, err := os.OpenFile(filepath.Join(n.root, "vpp.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	n.log = log
	n.process = exec.Command("nsenter", "--net="+n.host.path(), "unshare", "--mount", "sh", "-c", script)
	n.process.Stdout, n.process.Stderr = log, log
	// A group of its own, so that all of it is killed.
	n.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := n.process.Start(); err != nil {
		return err
	}
	process, exited := n.process, make(chan struct{})
	n.exited = exited
	go func() {
		_ = process.Wait()
		close(exited)
	}()
	return n.await(ctx)
}

// await waits until the API answers.
func (n *realNode) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		vpp, err := vppapi.Connect(n.socket())
		if err == nil {
			vpp.Close()
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("VPP does not answer: %w", err)
		case <-n.exited:
			content, _ := os.ReadFile(filepath.Join(n.root, "vpp.log"))
			return fmt.Errorf("VPP ended:\n%s", content)
		case <-ticker.C:
		}
	}
}

func (n *realNode) stop() {
	if n.process == nil {
		return
	}
	_ = syscall.Kill(-n.process.Process.Pid, syscall.SIGKILL)
	<-n.exited
	_ = n.log.Close()
	n.process = nil
	for _, stale := range []string{n.socket(), n.statsSocket(), filepath.Join(n.root, "run", "cli.sock")} {
		_ = os.Remove(stale)
	}
}

func (n *realNode) socket() string      { return filepath.Join(n.root, "run", "vpp-api.sock") }
func (n *realNode) statsSocket() string { return filepath.Join(n.root, "run", "stats.sock") }

func (n *realNode) pod() calicoagent.Pod {
	return calicoagent.Pod{Interface: podInterface, HostInterface: hostPodName, Address: n.podAddr, MAC: n.podMAC}
}

func (n *realNode) connected(gateway [6]byte) error {
	return n.podNamespace.setGateway(podName, gateway)
}

func (n *realNode) ping(ctx context.Context, to netip.Addr, count int) (int, error) {
	return n.podNamespace.ping(ctx, to, count)
}

func (n *realNode) received() capture { return n.sniffer.received() }
func (n *realNode) forget()           { n.sniffer.forget() }

func (n *realNode) nrHugepages() (int, error) {
	return countHugepages(os.DirFS("/sys/kernel/mm/hugepages"))
}
