// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	ipamv1 "sigs.k8s.io/cluster-api/api/ipam/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

// holders are the objects, in the site and among the Nodes, that hold a text, in plain or once more in base64.
func (s *site) holders(ctx context.Context, text string) []string {
	GinkgoHelper()
	var found []string
	lists := map[string]client.ObjectList{
		"Secret": &corev1.SecretList{}, "ConfigMap": &corev1.ConfigMapList{}, "Event": &eventsv1.EventList{}, "CoreEvent": &corev1.EventList{},
		"EdgeMachine": &infrav1.EdgeMachineList{}, "EdgeCluster": &infrav1.EdgeClusterList{}, "Cluster": &clusterv1.ClusterList{}, "Machine": &clusterv1.MachineList{},
		"BareMetalHost": &bmov1.BareMetalHostList{}, "HardwareData": &bmov1.HardwareDataList{}, "IPAddressClaim": &ipamv1.IPAddressClaimList{},
	}
	for kind, list := range lists {
		Expect(server.Client.List(ctx, list, client.InNamespace(s.namespace))).To(Succeed(), kind)
		found = append(found, namesHolding(kind, list, text)...)
	}
	nodes := &corev1.NodeList{}
	Expect(server.Client.List(ctx, nodes)).To(Succeed())
	return append(found, namesHolding("Node", nodes, text)...)
}

func namesHolding(kind string, list client.ObjectList, text string) []string {
	GinkgoHelper()
	whole, err := json.Marshal(list)
	Expect(err).NotTo(HaveOccurred())
	var items struct {
		Items []struct {
			Metadata struct {
				Name string `json:"name"`
			} `json:"metadata"`
			Data map[string]json.RawMessage `json:"data"`
		} `json:"items"`
	}
	Expect(json.Unmarshal(whole, &items)).To(Succeed())
	var raw struct {
		Items []json.RawMessage `json:"items"`
	}
	Expect(json.Unmarshal(whole, &raw)).To(Succeed())
	var names []string
	for i, item := range items.Items {
		all := [][]byte{raw.Items[i]}
		for _, value := range item.Data {
			var decoded []byte
			if json.Unmarshal(value, &decoded) == nil {
				all = append(all, decoded)
			}
		}
		joined := string(bytes.Join(all, nil))
		if strings.Contains(joined, text) || strings.Contains(joined, base64.StdEncoding.EncodeToString([]byte(text))) {
			names = append(names, kind+"/"+item.Metadata.Name)
		}
	}
	return names
}
