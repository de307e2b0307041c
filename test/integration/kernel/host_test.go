// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/ipc"
	"golang.zx2c4.com/wireguard/tun"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/agent/hostkey"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/agent/kernel"
)

// hostVariable makes the test binary play a host.
const hostVariable = "EDGEMETAL_TEST_HOST"

func TestMain(m *testing.M) {
	if keyFile := os.Getenv(hostVariable); keyFile != "" {
		if err := playHost(keyFile); err != nil {
			fmt.Fprintln(os.Stderr, "host:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// request is what a test asks of a host; reply is the answer.
type (
	request struct {
		Run     []string
		Observe *encryption.Expectation
		Act     []encryption.Action
		Device  bool
		Peer    *peer
		Send    []packet
		Sniff   string
		Seen    bool
	}
	reply struct {
		Error       string
		Output      string
		Observation encryption.Observation
		Seen        wire
	}
)

// peer of the host's device; to be removed when it has no address.
type peer struct {
	Key     string
	Address netip.Addr
	Block   string
}

// packet to send, complete from its IP header on.
type packet struct {
	Bytes []byte
	To    netip.Addr
}

// wire counts what arrives at a host's uplink.
type wire struct{ IPIP, VXLAN, Pods, Ping, WireGuard, Other int64 }

// playHost answers requests from standard input until it ends.
func playHost(keyFile string) error {
	// /run is the host's own: WireGuard's sockets lie there.
	if err := errors.Join(
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("tmpfs", "/var/run", "tmpfs", 0, ""),
	); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	backend, err := kernel.New(hostkey.NewFile(keyFile), log)
	if err != nil {
		return err
	}
	h := &host{backend: backend}
	input, output := gob.NewDecoder(bufio.NewReader(os.Stdin)), gob.NewEncoder(os.Stdout)
	for {
		var r request
		if err := input.Decode(&r); err != nil {
			return nil //nolint:nilerr // The test ends.
		}
		answer := reply{}
		if err := h.handle(r, &answer); err != nil {
			answer.Error = err.Error()
		}
		if err := output.Encode(answer); err != nil {
			return err
		}
	}
}

type host struct {
	backend *kernel.Backend
	seen    *wire
}

func (h *host) handle(r request, answer *reply) error {
	switch {
	case len(r.Run) > 0:
		out, err := exec.Command(r.Run[0], r.Run[1:]...).CombinedOutput()
		answer.Output = string(out)
		if err != nil {
			return fmt.Errorf("%v: %w: %s", r.Run, err, out)
		}
	case r.Device:
		return startWireGuard(encryption.KernelDevice)
	case r.Peer != nil:
		return setPeer(*r.Peer)
	case r.Act != nil:
		return h.backend.Act(context.Background(), *r.Observe, r.Act)
	case r.Observe != nil:
		answer.Observation = h.backend.Observe(context.Background(), *r.Observe)
	case r.Send != nil:
		return send(r.Send)
	case r.Sniff != "":
		h.seen = &wire{}
		return sniff(r.Sniff, h.seen)
	case r.Seen:
		for from, to := range map[*int64]*int64{
			&h.seen.IPIP: &answer.Seen.IPIP, &h.seen.VXLAN: &answer.Seen.VXLAN, &h.seen.Pods: &answer.Seen.Pods,
			&h.seen.Ping: &answer.Seen.Ping, &h.seen.WireGuard: &answer.Seen.WireGuard, &h.seen.Other: &answer.Seen.Other,
		} {
			*to = atomic.LoadInt64(from)
		}
	}
	return nil
}

// startWireGuard plays the kernel's module: a device without a key, configured through its socket.
func startWireGuard(name string) error {
	t, err := tun.CreateTUN(name, device.DefaultMTU)
	if err != nil {
		return err
	}
	d := device.NewDevice(t, conn.NewDefaultBind(), device.NewLogger(device.LogLevelError, name+": "))
	file, err := ipc.UAPIOpen(name)
	if err != nil {
		return err
	}
	listener, err := ipc.UAPIListen(name, file)
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go d.IpcHandle(c)
		}
	}()
	return nil
}

func setPeer(p peer) error {
	client, err := wgctrl.New()
	if err != nil {
		return err
	}
	defer client.Close()
	key, err := wgtypes.ParseKey(p.Key)
	if err != nil {
		return err
	}
	config := wgtypes.PeerConfig{PublicKey: key, Remove: !p.Address.IsValid()}
	if p.Address.IsValid() {
		_, block, err := net.ParseCIDR(p.Block)
		if err != nil {
			return err
		}
		config.Endpoint = net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.Address, encryption.DefaultPort))
		config.AllowedIPs = []net.IPNet{*block}
	}
	return client.ConfigureDevice(encryption.KernelDevice, wgtypes.Config{Peers: []wgtypes.PeerConfig{config}})
}

// send sends packets as they are, by the host's routes. What a guard drops is no error.
func send(packets []packet) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for _, p := range packets {
		if err := unix.Sendto(fd, p.Bytes, 0, &unix.SockaddrInet4{Addr: p.To.As4()}); err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EPERM) {
			return err
		}
	}
	return nil
}

// sniff counts what arrives at a device.
func sniff(name string, seen *wire) error {
	device, err := net.InterfaceByName(name)
	if err != nil {
		return err
	}
	var protocol [2]byte
	binary.BigEndian.PutUint16(protocol[:], unix.ETH_P_ALL)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(binary.NativeEndian.Uint16(protocol[:])))
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: binary.NativeEndian.Uint16(protocol[:]), Ifindex: device.Index}); err != nil {
		return err
	}
	go func() {
		frame := make([]byte, 2048)
		for {
			n, from, err := unix.Recvfrom(fd, frame, 0)
			if err != nil {
				return
			}
			if link, ok := from.(*unix.SockaddrLinklayer); ok && link.Pkttype != unix.PACKET_OUTGOING {
				count(frame[:n], seen)
			}
		}
	}()
	return nil
}

// count sorts a frame by what it carries.
func count(frame []byte, seen *wire) {
	if len(frame) < 34 || binary.BigEndian.Uint16(frame[12:]) != unix.ETH_P_IP {
		return
	}
	packet := frame[14:]
	pods := packet[16] == 10 && (packet[17] == 244 || packet[17] == 96)
	udp := packet[9] == unix.IPPROTO_UDP
	port := uint16(0)
	if header := int(packet[0]&0xf) * 4; udp && len(packet) >= header+4 {
		port = binary.BigEndian.Uint16(packet[header+2:])
	}
	counter := &seen.Other
	switch {
	case packet[9] == unix.IPPROTO_IPIP:
		counter = &seen.IPIP
	case udp && port == 4789:
		counter = &seen.VXLAN
	case udp && port == encryption.DefaultPort:
		counter = &seen.WireGuard
	case pods:
		counter = &seen.Pods
	case packet[9] == unix.IPPROTO_ICMP:
		counter = &seen.Ping
	}
	atomic.AddInt64(counter, 1)
}

// node is a host as the test sees it.
type node struct {
	t       *testing.T
	command *exec.Cmd
	input   *gob.Encoder
	output  *gob.Decoder
}

// newNode starts a host with the private key in keyFile.
func newNode(t *testing.T, keyFile string) *node {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make network namespaces")
	}
	for _, tool := range []string{"ip", "tc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s, of the package iproute2", tool)
		}
	}
	// The child dies with the thread that started it.
	runtime.LockOSThread()
	command := exec.CommandContext(t.Context(), "/proc/self/exe")
	command.Env = append(os.Environ(), hostVariable+"="+keyFile)
	command.Stderr = os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	stdin, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); errors.Is(err, unix.EPERM) {
		t.Skip("needs the right to make network namespaces")
	} else if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, command: command, input: gob.NewEncoder(stdin), output: gob.NewDecoder(stdout)}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = command.Process.Kill()
		_ = command.Wait()
		runtime.UnlockOSThread()
	})
	n.run("ip link set lo up")
	return n
}

func (n *node) ask(r request) reply {
	n.t.Helper()
	if err := n.input.Encode(r); err != nil {
		n.t.Fatal(err)
	}
	var answer reply
	if err := n.output.Decode(&answer); err != nil {
		n.t.Fatalf("host ended: %v", err)
	}
	if answer.Error != "" {
		n.t.Fatal(answer.Error)
	}
	return answer
}

// run runs a command on the host.
func (n *node) run(command string) string {
	n.t.Helper()
	return n.ask(request{Run: strings.Fields(command)}).Output
}

func (n *node) observe(e encryption.Expectation) encryption.Observation {
	n.t.Helper()
	return n.ask(request{Observe: &e}).Observation
}

// complete does what the agent does in a look, and returns what it sees then.
func (n *node) complete(e encryption.Expectation) encryption.Observation {
	n.t.Helper()
	o := n.observe(e)
	if actions := encryption.Actions(e, o); len(actions) > 0 {
		n.ask(request{Observe: &e, Act: actions})
		o = n.observe(e)
	}
	return o
}

// join connects two hosts by a veth pair.
func join(t *testing.T, a, b *node, addressA, addressB string) {
	t.Helper()
	suffix := fmt.Sprint(a.command.Process.Pid)
	for _, command := range []string{
		"ip link add ea" + suffix + " type veth peer name eb" + suffix,
		fmt.Sprintf("ip link set ea%s netns %d name uplink0", suffix, a.command.Process.Pid),
		fmt.Sprintf("ip link set eb%s netns %d name uplink0", suffix, b.command.Process.Pid),
	} {
		fields := strings.Fields(command)
		if out, err := exec.CommandContext(t.Context(), fields[0], fields[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", command, err, out)
		}
	}
	for n, address := range map[*node]string{a: addressA, b: addressB} {
		n.run("ip addr add " + address + " dev uplink0")
		n.run("ip link set uplink0 up")
	}
	deadline := time.Now().Add(30 * time.Second)
	for !strings.Contains(a.run("ip -o link show uplink0"), "state UP") {
		if time.Now().After(deadline) {
			t.Fatal("the link does not come up")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// writeKey writes a private key as cloud-init does.
func writeKey(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "wireguard.key")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
