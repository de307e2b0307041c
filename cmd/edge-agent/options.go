// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/spf13/pflag"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// options are the flags of the node agent.
type options struct {
	nodeName       string
	mode           string
	protocol       string
	backend        string
	port           uint16
	podCIDRs       []string
	serviceCIDRs   []string
	announcedCIDRs []string
	rxMode         string
	hugepages      string
	vppSocket      string
	vppStatsSocket string
	keyFile        string
	hostRoot       string
	runDir         string
	metricsAddress string
	kubeconfig     string
}

func (o *options) addFlags(fs *pflag.FlagSet, environment func(string) string) {
	fs.StringVar(&o.nodeName, "node-name", environment("NODE_NAME"), "Name of the Node that this agent runs on. Default: the variable NODE_NAME.")
	fs.StringVar(&o.mode, "mode", string(encryption.ModeRequired), "Required: hold pods back until the node is proved to encrypt, and drop what would leave in clear. Preferred: set up and report.")
	fs.StringVar(&o.protocol, "protocol", string(encryption.WireGuard), "WireGuard or IPsec.")
	fs.StringVar(&o.backend, "backend", string(encryption.VPP), "Dataplane: vpp or kernel.")
	fs.Uint16Var(&o.port, "port", encryption.DefaultPort, "UDP port of WireGuard on every node.")
	fs.StringSliceVar(&o.podCIDRs, "pod-cidrs", nil, "Address ranges of the cluster's pods.")
	fs.StringSliceVar(&o.serviceCIDRs, "service-cidrs", nil, "Address ranges of the cluster's services. Must not overlap pods.")
	fs.StringSliceVar(&o.announcedCIDRs, "announced-cidrs", nil, "Other address ranges of services that nodes announce: external IPs and load balancers'. Routes to them may lead to other nodes.")
	fs.StringVar(&o.rxMode, "rx-mode", encryption.RxInterrupt, "Mode in which VPP's interfaces must receive: interrupt, adaptive, polling or any.")
	fs.StringVar(&o.hugepages, "hugepages", "forbidden", "forbidden: a node whose VPP uses or reserves hugepages is not ready. Or allowed.")
	fs.StringVar(&o.vppSocket, "vpp-socket", "/var/run/vpp/vpp-api.sock", "VPP's API socket.")
	fs.StringVar(&o.vppStatsSocket, "vpp-stats-socket", "/var/run/vpp/stats.sock", "VPP's socket for counters; empty for none.")
	fs.StringVar(&o.keyFile, "key-file", "", fmt.Sprintf("The host's file with the private key. Default: %s with VPP, %s with the kernel.", encryption.VPPExecFile, encryption.KernelKeyFile))
	fs.StringVar(&o.hostRoot, "host-root", "/", "Directory that holds the host's /sys.")
	addRunDir(fs, &o.runDir)
	fs.StringVar(&o.metricsAddress, "metrics-bind-address", "127.0.0.1:9470", "Address of /metrics, /healthz and /readyz; empty for none. They are not authenticated: to let Prometheus in, bind to an address of a network that you trust.")
	fs.StringVar(&o.kubeconfig, "kubeconfig", "", "Kubeconfig file. Default: the pod's service account.")
}

func addRunDir(fs *pflag.FlagSet, dir *string) {
	fs.StringVar(dir, "run-dir", "/run/edgemetal", "Directory, emptied when the host starts, of the status socket and of what the agent remembers.")
}

// prefixes checks the options against each other, and parses the address ranges of pods and services.
func (o *options) prefixes() (pods, services, announced []netip.Prefix, err error) {
	var problems []error
	choices := []struct {
		flag, value string
		allowed     []string
	}{
		{"mode", o.mode, []string{string(encryption.ModeRequired), string(encryption.ModePreferred)}},
		{"protocol", o.protocol, []string{string(encryption.WireGuard), string(encryption.IPsec)}},
		{"backend", o.backend, []string{string(encryption.VPP), string(encryption.Kernel)}},
		{"rx-mode", o.rxMode, []string{encryption.RxInterrupt, "adaptive", "polling", "any"}},
		{"hugepages", o.hugepages, []string{"forbidden", "allowed"}},
	}
	for _, choice := range choices {
		if !slices.Contains(choice.allowed, choice.value) {
			problems = append(problems, fmt.Errorf("--%s=%s: must be one of %v", choice.flag, choice.value, choice.allowed))
		}
	}
	if o.nodeName == "" {
		problems = append(problems, errors.New("--node-name is not set: give the name of the Node, or set NODE_NAME from spec.nodeName"))
	}
	if o.protocol == string(encryption.IPsec) && o.backend != string(encryption.VPP) {
		problems = append(problems, errors.New("--protocol=IPsec: only with --backend=vpp"))
	}
	if o.metricsAddress != "" {
		if _, _, err := net.SplitHostPort(o.metricsAddress); err != nil {
			problems = append(problems, fmt.Errorf("--metrics-bind-address=%s: must be address:port", o.metricsAddress))
		}
	}
	pods, err = parsePrefixes("pod-cidrs", o.podCIDRs)
	problems = append(problems, err)
	services, err = parsePrefixes("service-cidrs", o.serviceCIDRs)
	problems = append(problems, err)
	announced, err = parsePrefixes("announced-cidrs", o.announcedCIDRs)
	problems = append(problems, err)
	if len(o.podCIDRs) == 0 {
		problems = append(problems, errors.New("--pod-cidrs is not set: without it the guard cannot tell pods' packets"))
	}
	for _, pod := range pods {
		for _, service := range services {
			if pod.Overlaps(service) {
				problems = append(problems, fmt.Errorf("--service-cidrs: %s overlaps %s of --pod-cidrs", service, pod))
			}
		}
	}
	return pods, services, announced, errors.Join(problems...)
}

func parsePrefixes(flag string, values []string) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for _, value := range values {
		prefix, err := netip.ParsePrefix(value)
		if err != nil || prefix.Bits() == 0 {
			return nil, fmt.Errorf("--%s=%s: must be an address range, for example 10.244.0.0/16", flag, value)
		}
		prefixes = append(prefixes, prefix.Masked())
	}
	return prefixes, nil
}

// keyPath is the host's file with the private key.
func (o *options) keyPath() string {
	switch {
	case o.keyFile != "":
		return o.keyFile
	case o.backend == string(encryption.Kernel):
		return encryption.KernelKeyFile
	default:
		return encryption.VPPExecFile
	}
}

// statusSocket is where `edge-agent status` asks.
func statusSocket(runDir string) string { return filepath.Join(runDir, "edge-agent.sock") }
