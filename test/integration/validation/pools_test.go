// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"context"
	"maps"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/calico"
)

// userPool is an IPPool as a user makes it in the workload cluster.
func userPool(name, cidr string, fields map[string]any) *unstructured.Unstructured {
	spec := map[string]any{"cidr": cidr}
	maps.Copy(spec, fields)
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "crd.projectcalico.org/v1", "kind": "IPPool", "metadata": map[string]any{"name": name}, "spec": spec,
	}}
}

// enforcePools puts the policy of a plan in force, which a pool outside the pods' range and another one show.
func enforcePools(ctx context.Context, plan calico.Plan, shown func(Gomega)) {
	GinkgoHelper()
	n := 0
	for _, object := range native(plan) {
		if object.GetName() == "edgemetal-ip-pools" {
			mustCreate(ctx, object)
			n++
		}
	}
	Expect(n).To(Equal(2))
	// A policy is in force a moment after it has been created, and the one before it is for a moment after it has been deleted.
	Eventually(func(g Gomega) {
		g.Expect(tryPool(ctx, "10.250.0.0/16", ipipAlways)).To(haveCauses([]string{"not inside the pods' range", "10.244.0.0/16"}))
		shown(g)
	}, "30s").Should(Succeed())
}

func tryPool(ctx context.Context, cidr string, fields map[string]any) error {
	return server.Client.Create(ctx, userPool("try", cidr, fields), client.DryRunAll)
}

var (
	ipipAlways  = map[string]any{"ipipMode": "Always"}
	vxlanAlways = map[string]any{"vxlanMode": "Always", "ipipMode": "Never"}
)

var _ = Describe("A pool of a user", Serial, func() {
	It("with VPP and WireGuard is inside the pods' range and always encapsulated", func(ctx context.Context) {
		old := userPool("old", "10.250.0.0/16", nil)
		mustCreate(ctx, old)
		enforcePools(ctx, rendered(vpp()), func(g Gomega) { g.Expect(tryPool(ctx, "10.244.128.0/17", vxlanAlways)).To(Succeed()) })
		for _, fields := range []map[string]any{ipipAlways, vxlanAlways} {
			Expect(tryPool(ctx, "10.244.128.0/17", fields)).To(Succeed())
			Expect(tryPool(ctx, "10.244.0.0/16", fields)).To(Succeed())
			Expect(tryPool(ctx, "10.0.0.0/8", fields)).To(haveCauses([]string{"not inside the pods' range"}))
			Expect(tryPool(ctx, "2001:db8:244::/64", fields)).To(haveCauses([]string{"not inside the pods' range"}))
		}
		for _, fields := range []map[string]any{nil, {"ipipMode": "CrossSubnet"}, {"vxlanMode": "CrossSubnet"}, {"ipipMode": "Never", "vxlanMode": "Never"}} {
			Expect(tryPool(ctx, "10.244.128.0/17", fields)).To(haveCauses([]string{"VPP encrypts only what it would encapsulate: set spec.ipipMode or spec.vxlanMode to Always"}))
		}

		By("leaving pools of load balancers aside")
		Expect(tryPool(ctx, "203.0.113.0/24", map[string]any{"allowedUses": []any{"LoadBalancer"}})).To(Succeed())
		Expect(tryPool(ctx, "203.0.113.0/24", map[string]any{"allowedUses": []any{"LoadBalancer", "Workload"}, "ipipMode": "Always"})).To(haveCauses([]string{"not inside the pods' range"}))

		By("letting one that was there before be disabled, but not be changed to another that is refused")
		change := func(field string, value any) error {
			changed := old.DeepCopy()
			Expect(server.Client.Get(ctx, client.ObjectKeyFromObject(old), changed)).To(Succeed())
			Expect(unstructured.SetNestedField(changed.Object, value, "spec", field)).To(Succeed())
			return server.Client.Update(ctx, changed, client.DryRunAll)
		}
		Expect(change("disabled", true)).To(Succeed())
		Expect(change("ipipMode", "Always")).To(haveCauses([]string{"not inside the pods' range"}))
	})

	It("with VPP and IPsec is carried by IPIP", func(ctx context.Context) {
		enforcePools(ctx, rendered(vpp(ipsec)), func(g Gomega) {
			g.Expect(tryPool(ctx, "10.244.128.0/17", vxlanAlways)).To(haveCauses([]string{"set spec.ipipMode Always"}))
		})
		Expect(tryPool(ctx, "10.244.128.0/17", ipipAlways)).To(Succeed())
	})

	It("with another dataplane is inside the pods' range", func(ctx context.Context) {
		enforcePools(ctx, rendered(of(infrav1.DataplaneCalicoNftables)), func(g Gomega) { g.Expect(tryPool(ctx, "10.244.128.0/17", nil)).To(Succeed()) })
	})

	It("is nobody's business but the user's where encryption is not required", func() {
		for _, object := range native(rendered(vpp(func(d *infrav1.Dataplane) { d.Encryption.Mode = infrav1.EncryptionPreferred }))) {
			Expect(object.GetName()).NotTo(Equal("edgemetal-ip-pools"))
		}
	})
})
