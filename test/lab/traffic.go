// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/fakevpp"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/fakevpp/control"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/images"
)

// firstPod is the number of an address in a node's pod range that a pod may have.
const firstPod = 5

// VPP steers the fake VPP of a host.
func (a Access) VPP(namespace, host string) *control.Client {
	return control.NewClient(filepath.Join(a.HostDir(), namespace, host, "root", images.ControlSocket))
}

// Flow is what became of a packet from a pod of one node to a pod of another.
type Flow struct {
	From, To string
	fakevpp.Verdict
}

// SendBetweenPods sends a packet from a pod address of each node to one of each other node, and tells what
// becomes of it. The nodes are named after their hosts, which are in the namespace.
func (a Access) SendBetweenPods(ctx context.Context, namespace string, nodes []corev1.Node) ([]Flow, error) {
	var flows []Flow
	for _, from := range nodes {
		for _, to := range nodes {
			if from.Name == to.Name {
				continue
			}
			source, sourceErr := podOf(from)
			target, targetErr := podOf(to)
			if sourceErr != nil || targetErr != nil {
				return nil, fmt.Errorf("nodes %s and %s have no pod ranges", from.Name, to.Name)
			}
			verdict, err := a.VPP(namespace, from.Name).Send(ctx, fakevpp.Packet{Source: source, Destination: target})
			if err != nil {
				return nil, fmt.Errorf("send from %s to %s: %w", from.Name, to.Name, err)
			}
			flows = append(flows, Flow{From: from.Name, To: to.Name, Verdict: verdict})
		}
	}
	return flows, nil
}

func podOf(node corev1.Node) (netip.Addr, error) {
	prefix, err := netip.ParsePrefix(node.Spec.PodCIDR)
	if err != nil {
		return netip.Addr{}, err
	}
	address := prefix.Masked().Addr()
	for range firstPod {
		address = address.Next()
	}
	return address, nil
}
