// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap/hostnet"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// Dataplane is the host's part of the cluster's dataplane.
type Dataplane struct {
	// Type of the dataplane. Nothing is rendered for type None, nor when it is not set.
	Type infrav1.DataplaneType
	// Network that carries pods' traffic.
	Network string
	// HoldPods has the Node register with encryption.NotReadyTaint, and a host whose kernel carries pods' traffic drop, from its start,
	// what would leave in clear.
	HoldPods bool
	// PodCIDRs and ServiceCIDRs of the cluster, by which such traffic is told.
	PodCIDRs, ServiceCIDRs []netip.Prefix
	// WireGuard is set when the host has a WireGuard key.
	WireGuard *WireGuard
}

// WireGuard is what the host's WireGuard interface is made with.
type WireGuard struct {
	// PrivateKey of the host.
	PrivateKey PrivateKey
	// Port is the UDP port on which every node listens. encryption.DefaultPort when 0.
	Port int32
}

// PrivateKey is a WireGuard private key, 32 bytes in base64. It is written to the user data and does not show when it is printed.
type PrivateKey string

// String hides the key.
func (PrivateKey) String() string { return "(private key)" }

// GoString hides the key.
func (PrivateKey) GoString() string { return "(private key)" }

const (
	modulesPath      = "/etc/modules-load.d/edgemetal.conf"
	sysctlPath       = "/etc/sysctl.d/90-edgemetal.conf"
	resolvedPath     = "/etc/systemd/resolved.conf.d/90-edgemetal.conf"
	networkdPath     = "/etc/systemd/networkd.conf.d/90-edgemetal.conf"
	unmanagedPath    = "/etc/systemd/network/10-edgemetal-unmanaged.network"
	networkManager   = "/etc/NetworkManager/conf.d/90-edgemetal.conf"
	wireGuardUnit    = "edgemetal-wireguard.service"
	wireGuardScript  = "/etc/edgemetal/wireguard.sh"
	wireGuardNetdev  = "/etc/edgemetal/wireguard.netdev"
	runtimeKey       = "/run/edgemetal/wireguard.key"
	runtimeNetdev    = "/run/systemd/network/80-edgemetal-wireguard.netdev"
	networkdReload   = "if systemctl --quiet is-active systemd-networkd; then networkctl reload; fi"
	resolvedRestart  = "if systemctl --quiet is-active systemd-resolved; then systemctl restart systemd-resolved; fi"
	generatedComment = "# From cluster-api-provider-edgemetal.\n"
)

// dataplaneInterfaces are the names of the devices that Calico makes on a host (Felix' interfacePrefix, and its names of tunnels).
func dataplaneInterfaces() []string {
	return []string{"cali*", "tunl0", "vxlan.calico", "vxlan-v6.calico", encryption.KernelDevice, "wg-v6.cali"}
}

// dataplanePart prepares the host for its dataplane, before the kubelet starts.
func dataplanePart(dataplane *Dataplane, plan hostnet.Plan) (part, error) {
	if dataplane == nil || dataplane.Type == "" || dataplane.Type == infrav1.DataplaneNone {
		return part{}, nil
	}
	parts := []part{foreignDevicesPart()}
	if dataplane.Type == infrav1.DataplaneCalicoVPP {
		parts = append(parts, vppPart(plan))
	}
	if dataplane.WireGuard != nil {
		key, err := keyPart(dataplane, plan)
		if err != nil {
			return part{}, err
		}
		parts = append(parts, key)
	}
	var all part
	for _, p := range parts {
		all.files, all.commands = append(all.files, p.files...), append(all.commands, p.commands...)
	}
	return all, nil
}

// foreignDevicesPart keeps the host's network services away from what the dataplane makes. systemd-networkd would drop the routing rule
// that leads pods' traffic into WireGuard, and VPP's routes, whenever it starts anew (ManageForeignRoutes= and
// ManageForeignRoutingPolicyRules= in networkd.conf(5)). It reads these settings when it starts, so that they need not be applied now.
func foreignDevicesPart() part {
	names := dataplaneInterfaces()
	return part{
		files: []file{
			{path: networkdPath, mode: 0o644, content: generatedComment + "[Network]\nManageForeignRoutes=no\nManageForeignRoutingPolicyRules=no\n"},
			{path: unmanagedPath, mode: 0o644, content: generatedComment + "[Match]\nName=" + strings.Join(names, " ") + "\n\n[Link]\nUnmanaged=yes\n"},
			{path: networkManager, mode: 0o644, content: generatedComment + "[keyfile]\nunmanaged-devices+=interface-name:" + strings.Join(names, ";interface-name:") + "\n"},
		},
		commands: []string{networkdReload},
	}
}

// vppPart gives VPP its kernel modules (tap interfaces to the host and to pods: src/plugins/tap/tap.c), keeps the host free of hugepages,
// and names resolving: VPP takes the uplink, and what systemd-resolved knew of it goes with it.
func vppPart(plan hostnet.Plan) part {
	p := part{
		files: []file{
			{path: modulesPath, mode: 0o644, content: generatedComment + "tun\nvhost_net\n"},
			{path: sysctlPath, mode: 0o644, content: generatedComment + "vm.nr_hugepages = 0\n"},
		},
		commands: []string{"modprobe -a tun vhost_net", "sysctl -p " + sysctlPath, "mkdir -p /etc/vpp && chmod 0700 /etc/vpp"},
	}
	if servers := plan.Nameservers(); len(servers) > 0 {
		p.files = append(p.files, file{path: resolvedPath, mode: 0o644, content: generatedComment + "[Resolve]\nDNS=" + join(servers) + "\n"})
		p.commands = append(p.commands, resolvedRestart)
	}
	return p
}

func join(addresses []netip.Addr) string {
	words := make([]string, 0, len(addresses))
	for _, address := range addresses {
		words = append(words, address.String())
	}
	return strings.Join(words, " ")
}

// keyPart gives the host its key, in the form that its dataplane adopts.
func keyPart(dataplane *Dataplane, plan hostnet.Plan) (part, error) {
	if dataplane.WireGuard.PrivateKey == "" {
		return part{}, errors.New("Dataplane.WireGuard.PrivateKey is not set")
	}
	port := dataplane.WireGuard.Port
	if port == 0 {
		port = encryption.DefaultPort
	}
	if dataplane.Type != infrav1.DataplaneCalicoVPP {
		return kernelKeyPart(dataplane, port), nil
	}
	address, found := plan.Address(dataplane.Network)
	if !found || !address.Addr().Is4() {
		return part{}, fmt.Errorf("the machine has no static IPv4 address in network %q, from which VPP's WireGuard sends; use addresses fromPool or fromHost", dataplane.Network)
	}
	// The syntax is that of src/plugins/wireguard/wireguard_cli.c; Calico's agent adopts an interface with the node's address as source.
	create := fmt.Sprintf("wireguard create listen-port %d private-key %s src %s instance 0\n", port, string(dataplane.WireGuard.PrivateKey), address.Addr())
	return part{files: []file{{path: encryption.VPPExecFile, mode: 0o600, content: create}}}, nil
}

// kernelKeyPart makes the kernel's WireGuard device before the kubelet starts: Felix gives it a key of its own only when it has none.
// Without wg the device is made by systemd-networkd, whose user has to be able to read the key (PrivateKeyFile= in systemd.netdev(5)).
// The unit loads the guard first: after a restart of the host Calico may route pods' packets before the node agent runs.
func kernelKeyPart(dataplane *Dataplane, port int32) part {
	privateKey := string(dataplane.WireGuard.PrivateKey)
	p := part{
		files: []file{
			{path: modulesPath, mode: 0o644, content: generatedComment + "wireguard\n"},
			{path: encryption.KernelKeyFile, mode: 0o600, content: privateKey + "\n"},
			{path: wireGuardScript, mode: 0o755, content: fmt.Sprintf(makeDevice, encryption.KernelBootGuard, encryption.KernelDevice, port, encryption.KernelKeyFile, wireGuardNetdev, runtimeKey, runtimeNetdev)},
			{path: wireGuardNetdev, mode: 0o644, content: fmt.Sprintf("%s[NetDev]\nName=%s\nKind=wireguard\n\n[WireGuard]\nListenPort=%d\nPrivateKeyFile=%s\n",
				generatedComment, encryption.KernelDevice, port, runtimeKey)},
			{path: "/etc/systemd/system/" + wireGuardUnit, mode: 0o644, content: fmt.Sprintf(makeDeviceUnit, encryption.KernelKeyFile, wireGuardScript)},
		},
		commands: []string{"modprobe wireguard", "systemctl daemon-reload && systemctl enable --now " + wireGuardUnit},
	}
	if dataplane.HoldPods {
		p.files = append(p.files, file{path: encryption.KernelBootGuard, mode: 0o644, content: bootGuard(dataplane)})
	}
	return p
}

const (
	// makeDevice does nothing to a device that has a key. systemd-networkd keeps no file of it: when it starts anew with one, it takes away
	// all peers that Calico has given the device.
	makeDevice = `#!/bin/sh
# From cluster-api-provider-edgemetal: drops what would leave in clear until the node agent does, and makes Calico's WireGuard device with
# the key of this host. It never prints the key.
set -eu
guard=%s
if [ -e "$guard" ] && ! nft -f "$guard"; then
	echo "pods' traffic in clear is not dropped until the node agent runs: install nftables in the image" >&2
fi
device=%s port=%d key=%s
netdev=%s runtime_key=%s runtime_netdev=%s
if ip -V >/dev/null 2>&1 && wg --version >/dev/null 2>&1; then
	ip link show dev "$device" >/dev/null 2>&1 || ip link add dev "$device" type wireguard
	if [ "$(wg show "$device" public-key)" = "(none)" ]; then
		wg set "$device" listen-port "$port" private-key "$key"
	fi
	exit 0
fi
[ ! -e "/sys/class/net/$device" ] || exit 0
if ! systemctl --quiet is-active systemd-networkd; then
	echo "cannot make $device: install wireguard-tools and iproute2 in the image, or use systemd-networkd" >&2
	exit 1
fi
mkdir -p "${runtime_key%%/*}" "${runtime_netdev%%/*}"
trap 'rm -f "$runtime_key" "$runtime_netdev"' EXIT
install -o root -g systemd-network -m 0640 "$key" "$runtime_key"
install -m 0644 "$netdev" "$runtime_netdev"
networkctl reload
for _ in 1 2 3 4 5 6 7 8 9 10; do
	[ ! -e "/sys/class/net/$device" ] || exit 0
	sleep 1
done
echo "systemd-networkd does not make $device; see journalctl -u systemd-networkd" >&2
exit 1
`

	makeDeviceUnit = `# From cluster-api-provider-edgemetal.
[Unit]
Description=WireGuard device of Calico with the key of this host
After=systemd-modules-load.service systemd-networkd.service nftables.service firewalld.service
Before=kubelet.service k3s.service k3s-agent.service rke2-server.service rke2-agent.service k0scontroller.service k0sworker.service
ConditionPathExists=%s

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh %s

[Install]
WantedBy=multi-user.target
`
)
