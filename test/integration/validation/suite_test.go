// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package validation checks on a real API server what the API accepts and refuses, and that what it says about a refusal
// names the field and the fix. Nothing is stored: every request is a dry run, except where a rule compares two versions.
package validation

import (
	"context"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/integration/apiserver"
)

const namespace = metav1.NamespaceDefault

var server *apiserver.Server

func TestValidation(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(time.Minute) // An API server looks for new policies once a second.
	RunSpecs(t, "Validation")
}

var _ = BeforeSuite(func(ctx context.Context) {
	var err error
	server, err = apiserver.Start(ctx)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(server.Stop()).To(Succeed()) })
	installDefinitions(ctx)
})

// tryCreate has the API server judge an object without storing it.
func tryCreate(ctx context.Context, object client.Object) error {
	return server.Client.Create(ctx, object, client.DryRunAll)
}

// mustCreate stores an object and removes it after the spec.
func mustCreate(ctx context.Context, object client.Object) {
	GinkgoHelper()
	Expect(server.Client.Create(ctx, object)).To(Succeed())
	DeferCleanup(func(ctx context.Context) { Expect(server.Client.Delete(ctx, object)).To(Succeed()) })
}

func meta() metav1.ObjectMeta {
	return metav1.ObjectMeta{GenerateName: "try-", Namespace: namespace}
}

// machineKinds are the objects that hold a machine's spec.
func machineKinds(spec infrav1.EdgeMachineSpec) []client.Object {
	template := &infrav1.EdgeMachineTemplate{ObjectMeta: meta()}
	template.Spec.Template.Spec = spec
	return []client.Object{&infrav1.EdgeMachine{ObjectMeta: meta(), Spec: spec}, template}
}

// clusterKinds are the objects that hold a cluster's spec.
func clusterKinds(spec infrav1.EdgeClusterSpec) []client.Object {
	template := &infrav1.EdgeClusterTemplate{ObjectMeta: meta()}
	template.Spec.Template.Spec = spec
	return []client.Object{&infrav1.EdgeCluster{ObjectMeta: meta(), Spec: spec}, template}
}

// machineSpec is accepted.
func machineSpec() infrav1.EdgeMachineSpec {
	return infrav1.EdgeMachineSpec{
		Image:      infrav1.Image{URL: "https://images.example/node.qcow2", Checksum: "https://images.example/SHA256SUMS", ChecksumType: "sha256", Format: "qcow2"},
		Links:      []infrav1.Link{ethernet("uplink0", "")},
		Interfaces: []infrav1.Interface{{Network: "cluster", Link: "uplink0"}},
	}
}

// ethernet is a link on the NIC that the inspection named so; without a name on the boot NIC.
func ethernet(name, nic string) infrav1.Link {
	if nic == "" {
		return infrav1.Link{Name: name, Match: &infrav1.NICMatch{BootNIC: new(true)}}
	}
	return infrav1.Link{Name: name, Match: &infrav1.NICMatch{Name: nic}}
}

func bond(name string, mode infrav1.BondMode, members ...string) infrav1.Link {
	return infrav1.Link{Name: name, Bond: &infrav1.Bond{Mode: mode, Members: members}}
}

func vlan(name, parent string, id int32) infrav1.Link {
	return infrav1.Link{Name: name, VLAN: &infrav1.VLAN{Parent: parent, ID: id}}
}

// clusterSpec is accepted.
func clusterSpec() infrav1.EdgeClusterSpec {
	return infrav1.EdgeClusterSpec{
		ControlPlaneEndpoint: infrav1.APIEndpoint{Host: "192.0.2.10", Port: 6443},
		ControlPlaneVIP:      infrav1.ControlPlaneVIP{Mode: infrav1.VIPModeARP},
		Networks: []infrav1.Network{{
			Name:        "cluster",
			Subnets:     []infrav1.Subnet{{CIDR: "192.0.2.0/24", Gateway: "192.0.2.1"}},
			Nameservers: []string{"192.0.2.53"},
			Addresses:   infrav1.AddressSource{FromHost: &infrav1.FromHost{}},
		}},
		Dataplane: infrav1.Dataplane{Type: infrav1.DataplaneNone, Encryption: infrav1.Encryption{Mode: infrav1.EncryptionDisabled}},
	}
}

// haveCauses is satisfied by an error of the API server that holds all texts.
func haveCauses(texts []string) OmegaMatcher {
	all := make([]OmegaMatcher, 0, len(texts)+1)
	all = append(all, HaveOccurred())
	for _, text := range texts {
		all = append(all, MatchError(ContainSubstring(text)))
	}
	return And(all...)
}
