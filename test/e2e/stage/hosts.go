// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/faults"
)

// freeHost is what a host looked like before anybody used it.
type freeHost struct {
	spec        bmov1.BareMetalHostSpec
	labels      map[string]string
	annotations map[string]string
}

func look(host *bmov1.BareMetalHost) freeHost {
	annotations := maps.Clone(host.Annotations)
	// Comes and goes with the specs.
	delete(annotations, faults.Annotation)
	if len(annotations) == 0 {
		annotations = nil
	}
	return freeHost{spec: *host.Spec.DeepCopy(), labels: maps.Clone(host.Labels), annotations: annotations}
}

// AddHosts adds host-<first> to host-<last> to the inventory and waits until they are available.
func (s *Site) AddHosts(ctx context.Context, first, last int) {
	GinkgoHelper()
	for n := first; n <= last; n++ {
		s.AddHost(ctx, n, "")
	}
	for n := first; n <= last; n++ {
		s.AwaitHost(ctx, n)
	}
}

// AddHost adds host-<n> to the inventory, with a fault unless that is empty (see package faults), and remembers what it looks
// like for AwaitFree.
func (s *Site) AddHost(ctx context.Context, n int, fault string) {
	GinkgoHelper()
	name := HostName(n)
	secret := &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: bmcSecret(name)},
		StringData: map[string]string{"username": "admin", "password": "lab"},
	}
	host := &bmov1.BareMetalHost{
		TypeMeta:   metav1.TypeMeta{APIVersion: bmov1.GroupVersion.String(), Kind: "BareMetalHost"},
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: name, Labels: map[string]string{"site": s.Namespace}},
		Spec: bmov1.BareMetalHostSpec{
			Online:         true,
			BootMACAddress: fmt.Sprintf("52:54:00:%02x:%02x:01", s.number, n),
			BMC: bmov1.BMCDetails{
				Address:         fmt.Sprintf("redfish-virtualmedia://192.0.2.%d/redfish/v1/Systems/1", n),
				CredentialsName: secret.Name,
			},
		},
	}
	if fault != "" {
		host.Annotations = map[string]string{faults.Annotation: fault}
	}
	var manifest strings.Builder
	for _, object := range []client.Object{secret, host} {
		data, err := yaml.Marshal(object)
		Expect(err).NotTo(HaveOccurred())
		fmt.Fprintf(&manifest, "---\n%s", data)
	}
	Expect(s.Apply(ctx, manifest.String())).To(Succeed())
	before := look(s.host(ctx, Default, name))
	before.spec.Architecture = architecture
	s.free[name] = before
}

// architecture is set by the operator when it has inspected a host that does not say.
const architecture = "x86_64"

// HostName of the n-th host of every site.
func HostName(n int) string { return fmt.Sprintf("host-%d", n) }

func bmcSecret(host string) string { return host + "-bmc" }

// AwaitHost waits until host-<n> is available.
func (s *Site) AwaitHost(ctx context.Context, n int) {
	GinkgoHelper()
	Eventually(ctx, func(g Gomega) {
		g.Expect(s.host(ctx, g, HostName(n)).Status.Provisioning.State).To(Equal(bmov1.StateAvailable))
	}).Should(Succeed())
}

// Fault gives host-<n> a fault; empty heals it.
func (s *Site) Fault(ctx context.Context, n int, fault string) {
	GinkgoHelper()
	change := faults.Annotation + "-"
	if fault != "" {
		change = faults.Annotation + "=" + fault
	}
	s.Do(ctx, "annotate", "--overwrite", "baremetalhost", HostName(n), change)
}

// RemoveHost takes host-<n> out of the inventory. The Secret of its BMC goes with it.
func (s *Site) RemoveHost(ctx context.Context, n int) {
	GinkgoHelper()
	name := HostName(n)
	s.Delete(ctx, "baremetalhost/"+name)
	delete(s.free, name)
}

func (s *Site) host(ctx context.Context, g Gomega, name string) *bmov1.BareMetalHost {
	host := &bmov1.BareMetalHost{}
	g.Expect(s.Client().Get(ctx, s.Key(name), host)).To(Succeed())
	return host
}

// Host reads host-<n>.
func (s *Site) Host(ctx context.Context, n int) *bmov1.BareMetalHost {
	GinkgoHelper()
	return s.host(ctx, Default, HostName(n))
}

// Hosts reads all hosts of the site.
func (s *Site) Hosts(ctx context.Context) []bmov1.BareMetalHost {
	GinkgoHelper()
	return s.HostsIn(ctx, s.Namespace)
}

// HostsIn reads all hosts of a namespace.
func (s *Stage) HostsIn(ctx context.Context, namespace string) []bmov1.BareMetalHost {
	GinkgoHelper()
	list := &bmov1.BareMetalHostList{}
	Expect(s.Client().List(ctx, list, client.InNamespace(namespace))).To(Succeed())
	return list.Items
}

// AwaitFree waits until exactly so many hosts are nobody's, and checks that these are clean and look as they did before anybody
// used them.
func (s *Site) AwaitFree(ctx context.Context, count int) {
	GinkgoHelper()
	Eventually(ctx, func(g Gomega) {
		list := &bmov1.BareMetalHostList{}
		g.Expect(s.Client().List(ctx, list, client.InNamespace(s.Namespace))).To(Succeed())
		free := slices.DeleteFunc(list.Items, func(h bmov1.BareMetalHost) bool { return h.Spec.ConsumerRef != nil })
		g.Expect(free).To(HaveLen(count), "hosts that are nobody's")
		for i := range free {
			g.Expect(look(&free[i])).To(Equal(s.free[free[i].Name]), free[i].Name)
			g.Expect(free[i].Status.Provisioning.State).To(Equal(bmov1.StateAvailable), free[i].Name)
			g.Expect(free[i].Status.Provisioning.Image).To(BeZero(), free[i].Name)
			g.Expect(free[i].Status.ErrorMessage).To(BeEmpty(), free[i].Name)
		}
	}).Should(Succeed())
}
