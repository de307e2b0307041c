// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/e2e/stage"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/hardware"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/vm/facts"
)

// Networks of the sites. The first two are VLANs, to whose routers and nameservers nothing answers.
const (
	clusterNetwork = "cluster"
	storageNetwork = "storage"
	leasedNetwork  = "management"

	clusterMTU = 1450
	storageMTU = 9000
)

// site is a namespace of a rig, with hosts and a cluster without a control plane: Machines get their bootstrap data from the specs.
type site struct {
	*rig
	stage     *stage.Site
	namespace string
	number    uint8
}

func (r *rig) newSite(ctx context.Context, namespace string, number uint8) *site {
	GinkgoHelper()
	made := r.NewSite(ctx, namespace) // explains itself when a spec fails
	return &site{rig: r, stage: made, namespace: made.Namespace, number: number}
}

func (s *site) key(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: s.namespace, Name: name}
}

// nics of host-<n>, of which the first boots.
func (s *site) nics(n int) []bmov1.NIC {
	nics := make([]bmov1.NIC, 0, 3)
	for i := range 3 {
		nics = append(nics, bmov1.NIC{
			Name: fmt.Sprintf("enp0s%d", i+2), MAC: fmt.Sprintf("52:54:00:%02x:%02x:%02x", s.number, n, i+1), SpeedGbps: 25,
		})
	}
	return nics
}

// addresses of host-<n> by network.
func (s *site) addresses(n int) map[string]netip.Addr {
	return map[string]netip.Addr{
		clusterNetwork: netip.AddrFrom4([4]byte{198, 18, 61, byte(20 + n)}),
		storageNetwork: netip.AddrFrom4([4]byte{198, 18, 62, byte(20 + n)}),
	}
}

// addHost adds host-<n> to the inventory.
func (s *site) addHost(ctx context.Context, n int) {
	GinkgoHelper()
	name := stageHost(n)
	hardwareOf, err := json.Marshal(bmov1.HardwareDetails{RAMMebibytes: 1024, CPU: bmov1.CPU{Count: 1}, NIC: s.nics(n)})
	Expect(err).NotTo(HaveOccurred())
	var fixed []string
	addresses := s.addresses(n)
	for _, network := range slices.Sorted(maps.Keys(addresses)) {
		fixed = append(fixed, network+"="+addresses[network].String())
	}
	s.apply(ctx, &corev1.Secret{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}, ObjectMeta: s.meta(name + "-bmc"),
		StringData: map[string]string{"username": "admin", "password": "lab"},
	}, &bmov1.BareMetalHost{
		TypeMeta: metav1.TypeMeta{APIVersion: bmov1.GroupVersion.String(), Kind: "BareMetalHost"},
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name, Labels: map[string]string{"host": name}, Annotations: map[string]string{
			hardware.Annotation: string(hardwareOf), infrav1.AddressesAnnotation: strings.Join(fixed, ","),
		}},
		Spec: bmov1.BareMetalHostSpec{
			Online: true, BootMACAddress: s.nics(n)[0].MAC,
			BMC: bmov1.BMCDetails{Address: fmt.Sprintf("redfish-virtualmedia://192.0.2.%d/redfish/v1/Systems/1", n), CredentialsName: name + "-bmc"},
		},
	})
}

func stageHost(n int) string { return fmt.Sprintf("host-%d", n) }

func (s *site) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: s.namespace, Name: name}
}

func (s *site) apply(ctx context.Context, objects ...client.Object) {
	GinkgoHelper()
	var manifest strings.Builder
	for _, object := range objects {
		data, err := yaml.Marshal(object)
		Expect(err).NotTo(HaveOccurred())
		fmt.Fprintf(&manifest, "---\n%s", strings.ReplaceAll(string(data), "\nstatus: {}\n", "\n"))
	}
	_, err := s.RunApply(ctx, lab.Command{Args: []string{"apply", "-f", "-"}, Stdin: []byte(manifest.String())})
	Expect(err).NotTo(HaveOccurred())
}

// addCluster adds a cluster with networks cluster, storage and management.
func (s *site) addCluster(ctx context.Context, name string, dataplane infrav1.DataplaneType) {
	GinkgoHelper()
	encryption := infrav1.Encryption{Mode: infrav1.EncryptionRequired, Protocol: infrav1.ProtocolWireGuard}
	if dataplane == infrav1.DataplaneNone {
		encryption = infrav1.Encryption{Mode: infrav1.EncryptionDisabled}
	}
	fromHost := infrav1.AddressSource{FromHost: &infrav1.FromHost{}}
	cluster := &clusterv1.Cluster{
		TypeMeta: metav1.TypeMeta{APIVersion: clusterv1.GroupVersion.String(), Kind: "Cluster"}, ObjectMeta: s.meta(name),
		Spec: clusterv1.ClusterSpec{
			ClusterNetwork: clusterv1.ClusterNetwork{
				Pods: clusterv1.NetworkRanges{CIDRBlocks: []string{"10.244.0.0/16"}}, Services: clusterv1.NetworkRanges{CIDRBlocks: []string{"10.96.0.0/12"}},
			},
			InfrastructureRef: clusterv1.ContractVersionedObjectReference{APIGroup: infrav1.GroupVersion.Group, Kind: "EdgeCluster", Name: name},
		},
	}
	edgeCluster := &infrav1.EdgeCluster{
		TypeMeta: metav1.TypeMeta{APIVersion: infrav1.GroupVersion.String(), Kind: "EdgeCluster"}, ObjectMeta: s.meta(name),
		Spec: infrav1.EdgeClusterSpec{
			ControlPlaneEndpoint: infrav1.APIEndpoint{Host: "198.18.61.10", Port: 6443},
			Dataplane:            infrav1.Dataplane{Type: dataplane, Network: clusterNetwork, Encryption: encryption},
			Networks: []infrav1.Network{
				{
					Name: clusterNetwork, MTU: clusterMTU, Nameservers: []string{"198.18.61.53", "198.18.61.54"}, Addresses: fromHost,
					Subnets: []infrav1.Subnet{{CIDR: "198.18.61.0/24", Gateway: "198.18.61.1"}},
				},
				{
					Name: storageNetwork, MTU: storageMTU, Nameservers: []string{"198.18.62.53"}, Addresses: fromHost,
					Subnets: []infrav1.Subnet{{CIDR: "198.18.62.0/24"}},
					Routes:  []infrav1.Route{{Destination: "203.0.113.0/24", Gateway: "198.18.62.1"}},
				},
				{Name: leasedNetwork, Addresses: infrav1.AddressSource{DHCP: &infrav1.DHCP{}}},
			},
		},
	}
	s.apply(ctx, edgeCluster, cluster)
}

// order says which machine to make.
type order struct {
	name, cluster string
	// host is the number of its host.
	host       int
	links      []infrav1.Link
	interfaces []infrav1.Interface
	// payload is the bootstrap data.
	payload string
	// image to boot; the one that the lab serves when it is zero.
	image infrav1.Image
}

// addMachine adds a Machine with its EdgeMachine and its bootstrap data.
func (s *site) addMachine(ctx context.Context, o order) {
	GinkgoHelper()
	labels := map[string]string{clusterv1.ClusterNameLabel: o.cluster}
	meta := metav1.ObjectMeta{Namespace: s.namespace, Name: o.name, Labels: labels}
	picture := cmp.Or(o.image, s.image())
	s.apply(ctx, &corev1.Secret{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}, ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: o.name + "-bootstrap", Labels: labels},
		Type: clusterv1.ClusterSecretType, StringData: map[string]string{"value": o.payload, "format": "cloud-config"},
	}, &infrav1.EdgeMachine{
		TypeMeta: metav1.TypeMeta{APIVersion: infrav1.GroupVersion.String(), Kind: "EdgeMachine"}, ObjectMeta: meta,
		Spec: infrav1.EdgeMachineSpec{
			Image: picture, HostSelector: infrav1.HostSelector{MatchLabels: map[string]string{"host": stageHost(o.host)}},
			Links: o.links, Interfaces: o.interfaces,
		},
	}, &clusterv1.Machine{
		TypeMeta: metav1.TypeMeta{APIVersion: clusterv1.GroupVersion.String(), Kind: "Machine"}, ObjectMeta: meta,
		Spec: clusterv1.MachineSpec{
			ClusterName: o.cluster, Version: lab.KubernetesVersion,
			Bootstrap:         clusterv1.Bootstrap{DataSecretName: new(o.name + "-bootstrap")},
			InfrastructureRef: clusterv1.ContractVersionedObjectReference{APIGroup: infrav1.GroupVersion.Group, Kind: "EdgeMachine", Name: o.name},
		},
	})
}

func (s *site) edgeMachine(ctx context.Context, g Gomega, name string) *infrav1.EdgeMachine {
	machine := &infrav1.EdgeMachine{}
	g.Expect(s.Client().Get(ctx, s.key(name), machine)).To(Succeed())
	return machine
}

// awaitCondition waits until a condition of an EdgeMachine is true.
func (s *site) awaitCondition(ctx context.Context, machine, condition string) {
	GinkgoHelper()
	Eventually(ctx, func(g Gomega) {
		found := conditions.Get(s.edgeMachine(ctx, g, machine), condition)
		g.Expect(found).NotTo(BeNil())
		g.Expect(found.Status).To(Equal(metav1.ConditionTrue), found.Message)
	}).Should(Succeed())
}

// awaitBoot waits until host-<n> has come to the end of cloud-init, however that went, in a boot other than the given one.
func (s *site) awaitBoot(ctx context.Context, n int, before string) {
	GinkgoHelper()
	run := s.run(s.key(stageHost(n)))
	Eventually(ctx, func(g Gomega) {
		boot, err := run(ctx, "cat", "/proc/sys/kernel/random/boot_id")
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(strings.TrimSpace(boot)).NotTo(Equal(before), "the boot")
		_, err = run(ctx, "test", "-e", "/run/cloud-init/result.json")
		g.Expect(err).NotTo(HaveOccurred())
	}).WithTimeout(bootTimeout).WithPolling(5 * time.Second).Should(Succeed())
}

// asked is what was asked of host-<n> by a machine.
func (s *site) asked(ctx context.Context, g Gomega, machine string, n int) facts.Asked {
	asked := facts.Asked{
		Machine: s.edgeMachine(ctx, g, machine), Cluster: &infrav1.EdgeCluster{}, Host: &bmov1.BareMetalHost{}, Addresses: s.addresses(n),
		Scripts: []string{facts.Commands, payloadScript},
	}
	g.Expect(asked.Machine.Status.Host).To(Equal(stageHost(n)))
	g.Expect(s.Client().Get(ctx, s.key(asked.Machine.Labels[clusterv1.ClusterNameLabel]), asked.Cluster)).To(Succeed())
	g.Expect(s.Client().Get(ctx, s.key(stageHost(n)), asked.Host)).To(Succeed())
	asked.Hardware = asked.Host.Status.HardwareDetails
	secret := &corev1.Secret{}
	if asked.Machine.Status.WireGuardPublicKey != "" {
		g.Expect(s.Client().Get(ctx, s.key(machine+"-wireguard"), secret)).To(Succeed())
		key, found := secret.Data[privateKeyName]
		g.Expect(found).To(BeTrue(), "Secret %s has %s", secret.Name, privateKeyName) // HaveKey would print the key
		asked.Key = bootstrap.PrivateKey(strings.TrimSpace(string(key)))
	}
	return asked
}

// facts of host-<n>.
func (s *site) facts(ctx context.Context, g Gomega, n int) facts.Facts {
	found, err := facts.Read(ctx, s.run(s.key(stageHost(n))), append(facts.Files(), payloadFiles()...))
	g.Expect(err).NotTo(HaveOccurred())
	return found
}
