// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	ipamv1 "sigs.k8s.io/cluster-api/api/ipam/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// encrypted gives a site a dataplane. The mode may be any but Disabled.
func encrypted(kind infrav1.DataplaneType, mode infrav1.EncryptionMode) func(*infrav1.EdgeCluster) {
	return func(c *infrav1.EdgeCluster) {
		c.Spec.Dataplane = infrav1.Dataplane{Type: kind, Encryption: infrav1.Encryption{Mode: mode, Protocol: infrav1.ProtocolWireGuard}}
	}
}

// newEncryptedSite makes a site with a manager, a cluster that requires encryption, and a host "a" in failure domain "rack-1".
func newEncryptedSite(ctx context.Context) *site {
	GinkgoHelper()
	s := newRunningSite(ctx)
	s.addCluster(ctx, clusterName, encrypted(infrav1.DataplaneCalicoVPP, infrav1.EncryptionRequired))
	s.addHost(ctx, "a", 1, labelled(infrav1.FailureDomainLabel, "rack-1"))
	return s
}

// keys of a machine's Secret.
func (s *site) keys(ctx context.Context, machine string) (private, public string) {
	GinkgoHelper()
	secret := get(ctx, s, machine+"-wireguard", &corev1.Secret{})
	return string(secret.Data["privateKey"]), string(secret.Data["publicKey"])
}

// node of a host.
func (s *site) node(ctx context.Context, host string) *corev1.Node {
	GinkgoHelper()
	node := &corev1.Node{}
	Expect(server.Client.Get(ctx, client.ObjectKey{Name: s.hostName(host)}, node)).To(Succeed())
	return node
}

// published is the key on a Node, for Eventually.
func (s *site) published(ctx context.Context, host string) func() string {
	return func() string { return s.node(ctx, host).Annotations[encryption.PublicKeyAnnotation] }
}

// changeNode changes a Node as its kubelet, its agents or a user do.
func (s *site) changeNode(ctx context.Context, host string, change func(*corev1.Node)) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		node := &corev1.Node{}
		g.Expect(server.Client.Get(ctx, client.ObjectKey{Name: s.hostName(host)}, node)).To(Succeed())
		change(node)
		g.Expect(server.Client.Update(ctx, node)).To(Succeed())
	}).Should(Succeed())
}

// report plays the node agent of a host.
func (s *site) report(ctx context.Context, host string, condition corev1.NodeCondition) {
	GinkgoHelper()
	condition.Type = encryption.NodeCondition
	if condition.LastHeartbeatTime.IsZero() {
		condition.LastHeartbeatTime = metav1.Now()
	}
	Eventually(func(g Gomega) {
		node := &corev1.Node{}
		g.Expect(server.Client.Get(ctx, client.ObjectKey{Name: s.hostName(host)}, node)).To(Succeed())
		node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}, condition}
		g.Expect(server.Client.Status().Update(ctx, node)).To(Succeed())
	}).Should(Succeed())
}

// proved is what the node agent reports of an encrypted node.
func proved() corev1.NodeCondition {
	return corev1.NodeCondition{Status: corev1.ConditionTrue, Reason: encryption.ReasonEncrypted, Message: "2 of 2 peers", LastTransitionTime: metav1.NewTime(time.Now().Add(-time.Hour))}
}

// unproved is what it reports of one that is not.
func unproved(reason, message string) corev1.NodeCondition {
	return corev1.NodeCondition{Status: corev1.ConditionFalse, Reason: reason, Message: message, LastTransitionTime: metav1.NewTime(time.Now().Add(-time.Minute))}
}

// join provisions a machine on a host, and registers its Node with the start-up taint, as a kubelet does that kubeadm has started.
func (s *site) join(ctx context.Context, machine, host string) {
	GinkgoHelper()
	s.addMachine(ctx, clusterName, machine, onHost(host))
	s.expectProvisioned(ctx, machine)
	s.registerTainted(ctx, host, s.providerID(machine, host))
	Eventually(s.condition(ctx, machine, infrav1.NodeLinkedCondition)).Should(beTrue())
}

// onHost has a machine take the host with the address that addHost gave it, by its label.
func onHost(host string) func(*clusterv1.Machine, *infrav1.EdgeMachine) {
	return func(_ *clusterv1.Machine, m *infrav1.EdgeMachine) {
		if host != "a" {
			m.Spec.HostSelector.MatchLabels = map[string]string{"host": host}
		}
	}
}

func (s *site) registerTainted(ctx context.Context, host, providerID string) {
	GinkgoHelper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: s.hostName(host)}}
	node.Spec.ProviderID = providerID
	node.Spec.Taints = []corev1.Taint{{Key: encryption.NotReadyTaint, Effect: corev1.TaintEffectNoSchedule}}
	Expect(server.Client.Create(ctx, node)).To(Succeed())
	DeferCleanup(func(ctx context.Context) {
		Expect(client.IgnoreNotFound(server.Client.Delete(ctx, node))).To(Succeed())
	})
}

func hasTaint(node *corev1.Node) bool {
	for _, taint := range node.Spec.Taints {
		if taint.Key == encryption.NotReadyTaint {
			return true
		}
	}
	return false
}

var _ = Describe("The WireGuard key of a machine", func() {
	It("is made once, given to the host, published on the Node, and withdrawn before anything else is given back", func(ctx context.Context) {
		s := newEncryptedSite(ctx)
		was := s.remember(ctx, "a")
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectProvisioned(ctx, "m")
		private, public := s.keys(ctx, "m")
		secret := get(ctx, s, "m-wireguard", &corev1.Secret{})
		Expect(secret.Labels).To(HaveKeyWithValue(clusterv1.ClusterNameLabel, clusterName), "so that clusterctl moves it")
		Expect(owners(secret)).To(Equal([]string{"EdgeMachine/m"}))
		Expect(secret.Immutable).To(HaveValue(BeTrue()))
		Expect(s.edgeMachine(ctx, "m").Status.WireGuardPublicKey).To(Equal(public))

		boot := s.operator.Boots(s.hostName("a"))[0]
		Expect(boot.UserData).To(ContainSubstring("wireguard create listen-port 51820 private-key " + private + " src 192.0.2.21 instance 0"))
		Expect(boot.UserData).To(And(ContainSubstring("vhost_net"), ContainSubstring("vm.nr_hugepages = 0"), ContainSubstring(encryption.NotReadyTaint+":NoSchedule"), ContainSubstring("DNS=192.0.2.53")))

		By("publishing it with the failure domain in one request")
		before := len(s.recorder.Writes())
		s.registerTainted(ctx, "a", s.providerID("m", "a"))
		Eventually(s.published(ctx, "a")).WithTimeout(5 * time.Second).Should(Equal(public))
		Expect(s.node(ctx, "a").Labels).To(HaveKeyWithValue(encryption.FailureDomainLabel, "rack-1"))
		Eventually(s.condition(ctx, "m", infrav1.NodeLinkedCondition)).Should(beTrue())
		s.expectQuiet()
		patches := 0
		for _, write := range s.recorder.Writes()[before:] {
			if write.Resource == "nodes" {
				patches++
			}
		}
		Expect(patches).To(Equal(1))

		By("withdrawing it while the host still runs")
		s.operator.HoldIn(s.hostName("a"), bmov1.StateDeprovisioning)
		s.deleteMachine(ctx, "m")
		Eventually(s.published(ctx, "a")).Should(BeEmpty())
		Expect(s.node(ctx, "a").Spec.Unschedulable).To(BeTrue())
		Eventually(s.condition(ctx, "m", infrav1.HostProvisionedCondition)).Should(waitFor(infrav1.HostDeprovisioningReason))

		By("not fighting with a dataplane that publishes it again")
		s.changeNode(ctx, "a", func(n *corev1.Node) { n.Annotations = map[string]string{encryption.PublicKeyAnnotation: public} })
		Consistently(s.published(ctx, "a")).Should(Equal(public))
		s.operator.LetGo(s.hostName("a"))
		s.expectGone(ctx, "m")
		s.expectFree(ctx, "a", was)
	})

	It("is withdrawn first also by a manager that has just started", func(ctx context.Context) {
		s := newEncryptedSite(ctx)
		s.join(ctx, "m", "a")
		Eventually(s.published(ctx, "a")).ShouldNot(BeEmpty())
		Expect(s.manager.Stop()).To(Succeed())
		s.deleteMachine(ctx, "m")
		s.record()
		s.startManager(ctx)
		s.expectGone(ctx, "m")
		Expect(s.published(ctx, "a")()).To(BeEmpty())
		var changed []string
		for _, write := range s.recorder.Writes() {
			if write.Resource == "nodes" || write.Resource == "baremetalhosts" {
				changed = append(changed, write.Resource)
			}
		}
		Expect(changed).NotTo(BeEmpty())
		Expect(changed[0]).To(Equal("nodes"), "%v", changed)
	})

	It("outlives managers, and comes anew with the next machine", func(ctx context.Context) {
		s := newEncryptedSite(ctx)
		s.addMachine(ctx, clusterName, "m", func(_ *clusterv1.Machine, m *infrav1.EdgeMachine) { m.Spec.Hold = new(true) })
		s.expectWaiting(ctx, "m", infrav1.ReleasedCondition, infrav1.HeldReason)
		Expect(s.manager.Stop()).To(Succeed())
		update(ctx, s, "m", &infrav1.EdgeMachine{}, func(m *infrav1.EdgeMachine) { m.Spec.Hold = nil })
		s.startManager(ctx)
		s.expectProvisioned(ctx, "m")
		_, public := s.keys(ctx, "m")
		Expect(s.manager.Stop()).To(Succeed())

		By("reading it again when the status is lost, as after a move")
		updateStatus(ctx, s, "m", &infrav1.EdgeMachine{}, func(m *infrav1.EdgeMachine) { m.Status.WireGuardPublicKey = "" })
		s.startManager(ctx)
		Eventually(func() string { return s.edgeMachine(ctx, "m").Status.WireGuardPublicKey }).Should(Equal(public))
		s.deleteMachine(ctx, "m")
		s.expectGone(ctx, "m")
		Expect(server.Client.Delete(ctx, get(ctx, s, "m", &clusterv1.Machine{}))).To(Succeed())
		Expect(server.Client.Delete(ctx, get(ctx, s, "m-bootstrap", &corev1.Secret{}))).To(Succeed())
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectProvisioned(ctx, "m")
		_, next := s.keys(ctx, "m")
		Expect(next).NotTo(Equal(public))
	})

	for n := 2; n <= 8; n++ {
		It(fmt.Sprintf("is the same on the host and in the Secret when the manager is killed after its write number %d", n), func(ctx context.Context) {
			m := &mortal{site: newSite(ctx), lives: []int{n}}
			m.addCluster(ctx, clusterName, encrypted(infrav1.DataplaneCalicoVPP, infrav1.EncryptionRequired))
			m.addHost(ctx, "a", 1, nil)
			m.addMachine(ctx, clusterName, "m", nil)
			m.live(ctx)
			Eventually(func(g Gomega) {
				m.revive(ctx)
				g.Expect(m.edgeMachine(ctx, "m").Spec.ProviderID).NotTo(BeEmpty())
			}).Should(Succeed())
			private, public := m.keys(ctx, "m")
			Expect(m.operator.Boots(m.hostName("a"))).To(HaveLen(1))
			Expect(m.operator.Boots(m.hostName("a"))[0].UserData).To(ContainSubstring(private))
			Eventually(func() string { return m.edgeMachine(ctx, "m").Status.WireGuardPublicKey }).Should(Equal(public))
			Expect(m.deaths).To(Equal(1), "there are fewer writes")
		})
	}

	DescribeTable("waits for somebody else's Secret to make room", func(ctx context.Context, labels map[string]string) {
		s := newEncryptedSite(ctx)
		foreign := &corev1.Secret{ObjectMeta: s.meta("m-wireguard"), Data: map[string][]byte{"privateKey": []byte("mine")}}
		foreign.Labels = labels
		Expect(server.Client.Create(ctx, foreign)).To(Succeed())
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectWaiting(ctx, "m", infrav1.BootstrapDataReadyCondition, infrav1.KeyUnavailableReason, "Secret m-wireguard exists and is not ours", "rename or delete it")
		Expect(s.host(ctx, "a").Spec.Image).To(BeNil())
		Expect(get(ctx, s, "m-wireguard", &corev1.Secret{}).Data).To(Equal(foreign.Data))
		if labels != nil {
			Expect(server.Client.Delete(ctx, foreign)).To(Succeed())
			s.expectProvisioned(ctx, "m")
			return
		}
		s.deleteMachine(ctx, "m")
		Eventually(func() bool {
			return apierrors.IsNotFound(server.Client.Get(ctx, s.key("m"), &infrav1.EdgeMachine{}))
		}).Should(BeTrue())
		Expect(get(ctx, s, "m-wireguard", &corev1.Secret{}).Data).To(Equal(foreign.Data))
	},
		Entry("with the label of the cluster", map[string]string{clusterv1.ClusterNameLabel: clusterName}),
		Entry("without it", nil),
	)

	It("is made again when it is lost before the host is told to boot with it", func(ctx context.Context) {
		s := newEncryptedSite(ctx)
		s.createMachine(ctx, clusterName, "m", nil)
		s.expectWaiting(ctx, "m", infrav1.BootstrapDataReadyCondition, infrav1.WaitingForBootstrapDataReason)
		_, first := s.keys(ctx, "m")
		Expect(server.Client.Delete(ctx, get(ctx, s, "m-wireguard", &corev1.Secret{}))).To(Succeed())
		Eventually(func(g Gomega) {
			g.Expect(server.Client.Get(ctx, s.key("m-wireguard"), &corev1.Secret{})).To(Succeed())
			g.Expect(s.edgeMachine(ctx, "m").Status.WireGuardPublicKey).NotTo(Equal(first))
		}).Should(Succeed())
		s.createBootstrapData(ctx, clusterName, "m", "cloud-config", cloudConfig)
		s.publishBootstrapData(ctx)
		s.expectProvisioned(ctx, "m")
		private, public := s.keys(ctx, "m")
		Expect(public).NotTo(Equal(first))
		Expect(s.operator.Boots(s.hostName("a"))[0].UserData).To(ContainSubstring(private))
		Expect(s.edgeMachine(ctx, "m").Status.WireGuardPublicKey).To(Equal(public))
	})

	It("is missed, and not replaced, when it is lost after that", func(ctx context.Context) {
		s := newEncryptedSite(ctx)
		s.join(ctx, "m", "a")
		secret := get(ctx, s, "m-wireguard", &corev1.Secret{})
		public := string(secret.Data["publicKey"])
		s.report(ctx, "a", proved())
		Eventually(s.condition(ctx, "m", infrav1.ReadyCondition)).Should(beTrue())
		Expect(server.Client.Delete(ctx, secret)).To(Succeed())
		s.expectWaiting(ctx, "m", infrav1.BootstrapDataReadyCondition, infrav1.KeyLostReason, "Secret m-wireguard was deleted", "restore the Secret from a backup")
		Eventually(s.eventsOf(ctx, "m")).Should(ContainElement(HavePrefix(infrav1.KeyLostReason + ": ")))
		Expect(s.condition(ctx, "m", infrav1.EncryptionReadyCondition)(Default)).To(beTrue(), "the host keeps its key")
		Consistently(s.published(ctx, "a")).Should(Equal(public))
		Expect(apierrors.IsNotFound(server.Client.Get(ctx, s.key("m-wireguard"), &corev1.Secret{}))).To(BeTrue())

		By("taking back a backup")
		secret.ResourceVersion, secret.UID = "", ""
		Expect(server.Client.Create(ctx, secret)).To(Succeed())
		Eventually(s.condition(ctx, "m", infrav1.ReadyCondition)).Should(beTrue())
	})

	It("is in two Secrets and nowhere else", func(ctx context.Context) {
		s := newEncryptedSite(ctx)
		s.join(ctx, "m", "a")
		s.report(ctx, "a", proved())
		Eventually(s.condition(ctx, "m", infrav1.ReadyCondition)).Should(beTrue())
		Expect(server.Client.Delete(ctx, get(ctx, s, "edge-kubeconfig", &corev1.Secret{}))).To(Succeed())
		private, _ := s.keys(ctx, "m")
		Expect(s.holders(ctx, private)).To(ConsistOf("Secret/m-wireguard", "Secret/m-host-config"))
		s.operator.HoldIn(s.hostName("a"), bmov1.StateDeprovisioning)
		s.deleteMachine(ctx, "m")
		Eventually(s.condition(ctx, "m", infrav1.HostProvisionedCondition)).Should(waitFor(infrav1.HostDeprovisioningReason))
		Expect(s.holders(ctx, private)).To(ConsistOf("Secret/m-wireguard", "Secret/m-host-config"))
		s.operator.LetGo(s.hostName("a"))
		s.expectGone(ctx, "m")
		Expect(s.holders(ctx, private)).To(BeEmpty())
	})
})

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
		all := string(raw.Items[i])
		for _, value := range item.Data {
			var decoded []byte
			if json.Unmarshal(value, &decoded) == nil {
				all += string(decoded)
			}
		}
		if strings.Contains(all, text) || strings.Contains(all, base64.StdEncoding.EncodeToString([]byte(text))) {
			names = append(names, kind+"/"+item.Metadata.Name)
		}
	}
	return names
}

var _ = Describe("The key on a Node", func() {
	It("that somebody changes is set again, and reported when it is changed once more", func(ctx context.Context) {
		s := newEncryptedSite(ctx)
		s.join(ctx, "m", "a")
		_, public := s.keys(ctx, "m")
		s.report(ctx, "a", proved())
		Eventually(s.condition(ctx, "m", infrav1.ReadyCondition)).Should(beTrue())
		foreign := base64.StdEncoding.EncodeToString([]byte("edgemetal-test-key-of-somebody-e"))
		change := func(n *corev1.Node) { n.Annotations[encryption.PublicKeyAnnotation] = foreign }

		By("leaving it for now, because it has just been published")
		s.changeNode(ctx, "a", change)
		s.expectWaiting(ctx, "m", infrav1.EncryptionReadyCondition, infrav1.KeyNotPublishedReason, foreign, public, "find out what changes it")
		Consistently(s.published(ctx, "a")).Should(Equal(foreign))
		s.expectQuiet()

		By("setting it with a manager that has not set it yet")
		Expect(s.manager.Stop()).To(Succeed())
		s.startManager(ctx)
		Eventually(s.published(ctx, "a")).Should(Equal(public))
		Eventually(s.condition(ctx, "m", infrav1.ReadyCondition)).Should(beTrue())
	})

	It("that VPP really has is kept", func(ctx context.Context) {
		s := newEncryptedSite(ctx)
		s.join(ctx, "m", "a")
		s.report(ctx, "a", unproved(encryption.ReasonKeyMismatch, "VPP has a key of its own"))
		foreign := base64.StdEncoding.EncodeToString([]byte("edgemetal-test-key-made-by-agent"))
		s.changeNode(ctx, "a", func(n *corev1.Node) { n.Annotations[encryption.PublicKeyAnnotation] = foreign })
		Expect(s.manager.Stop()).To(Succeed())
		s.startManager(ctx)
		s.expectWaiting(ctx, "m", infrav1.EncryptionReadyCondition, encryption.ReasonKeyMismatch, "VPP has a key of its own")
		Consistently(s.published(ctx, "a")).Should(Equal(foreign))
	})
})

var _ = Describe("The start-up taint", func() {
	It("is given to a Node that has registered without, once", func(ctx context.Context) {
		s := newEncryptedSite(ctx)
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectProvisioned(ctx, "m")
		s.registerNode(ctx, "a", "")
		Eventually(func() bool { return hasTaint(s.node(ctx, "a")) }).Should(BeTrue())
		Eventually(s.condition(ctx, "m", infrav1.NodeLinkedCondition)).Should(beTrue())
		Expect(s.node(ctx, "a").Spec.ProviderID).To(Equal(s.providerID("m", "a")))

		By("leaving it to the node agent from then on")
		s.changeNode(ctx, "a", func(n *corev1.Node) { n.Spec.Taints = nil })
		s.report(ctx, "a", proved())
		Eventually(s.condition(ctx, "m", infrav1.ReadyCondition)).Should(beTrue())
		Expect(s.manager.Stop()).To(Succeed())
		s.startManager(ctx)
		Consistently(func() bool { return hasTaint(s.node(ctx, "a")) }).Should(BeFalse())

		By("not giving it to a proved Node when the status is lost, as after a move")
		Expect(s.manager.Stop()).To(Succeed())
		updateStatus(ctx, s, "m", &infrav1.EdgeMachine{}, func(m *infrav1.EdgeMachine) { m.Status = infrav1.EdgeMachineStatus{} })
		s.startManager(ctx)
		Eventually(s.condition(ctx, "m", infrav1.ReadyCondition)).Should(beTrue())
		Expect(hasTaint(s.node(ctx, "a"))).To(BeFalse())
	})

	It("is not given in mode Preferred", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, encrypted(infrav1.DataplaneCalicoNftables, infrav1.EncryptionPreferred))
		s.addHost(ctx, "a", 1, nil)
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectProvisioned(ctx, "m")
		Expect(s.operator.Boots(s.hostName("a"))[0].UserData).NotTo(ContainSubstring(encryption.NotReadyTaint))
		s.registerNode(ctx, "a", s.providerID("m", "a"))
		s.expectLinked(ctx, "m")
		Expect(hasTaint(s.node(ctx, "a"))).To(BeFalse())
		Expect(s.published(ctx, "a")()).NotTo(BeEmpty())
	})
})

var _ = Describe("The encryption of a machine", func() {
	It("is what its node agent reports, and makes the machine ready or not", func(ctx context.Context) {
		s := newEncryptedSite(ctx)
		s.join(ctx, "m", "a")
		of := s.condition(ctx, "m", infrav1.EncryptionReadyCondition)
		Eventually(of).Should(And(HaveField("Status", metav1.ConditionUnknown), HaveField("Reason", infrav1.WaitingForAgentReason), HaveField("Message", ContainSubstring("has not reported on Node "+s.hostName("a")))))
		Expect(s.condition(ctx, "m", infrav1.ReadyCondition)(Default)).To(waitFor(infrav1.WaitingForAgentReason))
		Expect(s.edgeMachine(ctx, "m").Status.Initialization.Provisioned).To(HaveValue(BeTrue()), "else Cluster API would never look for the Node")

		By("becoming encrypted")
		good := proved()
		s.report(ctx, "a", good)
		Eventually(of).WithTimeout(5 * time.Second).Should(And(beTrue(), HaveField("Reason", encryption.ReasonEncrypted), HaveField("Message", "2 of 2 peers"),
			HaveField("LastTransitionTime.Unix()", good.LastTransitionTime.Unix())))
		Eventually(s.condition(ctx, "m", infrav1.ReadyCondition)).Should(beTrue())
		Eventually(s.eventsOf(ctx, "m")).Should(ContainElement(encryption.ReasonEncrypted + ": 2 of 2 peers"))

		By("writing and reconciling nothing over heartbeats")
		s.expectQuiet()
		s.expectNoWrites(func() {
			for range 5 {
				s.report(ctx, "a", good)
			}
		})
		Expect(s.manager.Stop()).To(Succeed())
		s.expectNoWrites(func() { s.startManager(ctx) })

		By("losing it")
		s.report(ctx, "a", unproved(encryption.ReasonPeerKeyUnknown, "worker-2 publishes no key"))
		Eventually(of).WithTimeout(5 * time.Second).Should(waitFor(encryption.ReasonPeerKeyUnknown, "worker-2 publishes no key"))
		Eventually(s.condition(ctx, "m", infrav1.ReadyCondition)).Should(waitFor(encryption.ReasonPeerKeyUnknown))
		Eventually(s.eventsOf(ctx, "m")).Should(ContainElement(encryption.ReasonPeerKeyUnknown + ": worker-2 publishes no key"))

		By("an agent that is silent")
		silent := proved()
		silent.LastHeartbeatTime = metav1.NewTime(time.Now().Add(-time.Hour))
		s.report(ctx, "a", silent)
		Eventually(of).Should(And(HaveField("Status", metav1.ConditionUnknown), HaveField("Reason", infrav1.WaitingForAgentReason), HaveField("Message", ContainSubstring("has not reported on Node "+s.hostName("a")+" since "))))
		s.report(ctx, "a", proved())
		Eventually(of).Should(beTrue())

		By("an agent that falls silent")
		silent.LastHeartbeatTime = metav1.NewTime(time.Now().Add(-5*time.Minute + 4*time.Second))
		s.report(ctx, "a", silent)
		Expect(s.manager.Stop()).To(Succeed())
		s.startManager(ctx)
		Eventually(of).WithTimeout(15 * time.Second).Should(HaveField("Status", metav1.ConditionUnknown))

		By("a Node that is gone")
		s.report(ctx, "a", proved())
		Eventually(of).Should(beTrue())
		Expect(server.Client.Delete(ctx, s.node(ctx, "a"))).To(Succeed())
		s.expectWaiting(ctx, "m", infrav1.NodeLinkedCondition, infrav1.WaitingForNodeReason)
		Eventually(of).Should(HaveField("Status", metav1.ConditionUnknown))
	})

	It("does not decide over readiness in mode Preferred", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, encrypted(infrav1.DataplaneCalicoVPP, infrav1.EncryptionPreferred))
		s.addHost(ctx, "a", 1, nil)
		s.join(ctx, "m", "a")
		s.report(ctx, "a", unproved(encryption.ReasonTunnelMissing, "no tunnel"))
		Eventually(s.condition(ctx, "m", infrav1.EncryptionReadyCondition)).Should(waitFor(encryption.ReasonTunnelMissing))
		Eventually(s.condition(ctx, "m", infrav1.ReadyCondition)).Should(beTrue())
	})

	It("is counted for the cluster, which names who is missing, why and since when", func(ctx context.Context) {
		s := newEncryptedSite(ctx)
		of := s.clusterCondition(ctx, infrav1.EncryptionReadyCondition)
		Eventually(of).Should(waitFor(infrav1.NodesNotEncryptedReason, "No machine has a host yet"))
		s.join(ctx, "m", "a")
		s.addHost(ctx, "b", 2, labelled("host", "b"))
		s.join(ctx, "n", "b")
		Eventually(of).Should(waitFor(infrav1.NodesNotEncryptedReason, "0 of 2 nodes encrypted", s.hostName("a")+": WaitingForAgent", s.hostName("b")+": WaitingForAgent"))
		s.report(ctx, "a", proved())
		bad := unproved(encryption.ReasonPeerNotEstablished, "no handshake with a")
		s.report(ctx, "b", bad)
		Eventually(of).Should(waitFor(infrav1.NodesNotEncryptedReason,
			fmt.Sprintf("1 of 2 nodes encrypted; %s: PeerNotEstablished since %s (no handshake with a)", s.hostName("b"), bad.LastTransitionTime.UTC().Format("2006-01-02T15:04Z"))))
		s.report(ctx, "b", proved())
		Eventually(of).Should(And(beTrue(), HaveField("Message", "2 of 2 nodes encrypted")))

		By("not counting a machine that finds no host, nor one that is deleted")
		s.addMachine(ctx, clusterName, "o", nil)
		s.expectWaiting(ctx, "o", infrav1.HostClaimedCondition, infrav1.NoHostMatchesReason)
		Consistently(of).Should(beTrue())
		s.operator.HoldIn(s.hostName("b"), bmov1.StateDeprovisioning)
		s.deleteMachine(ctx, "n")
		Eventually(of).Should(And(beTrue(), HaveField("Message", "1 of 1 nodes encrypted")))
		s.operator.LetGo(s.hostName("b"))
		s.expectGone(ctx, "n")
	})
})

var _ = Describe("The uplink of VPP", func() {
	withLink := func(link, network string) func(*clusterv1.Machine, *infrav1.EdgeMachine) {
		return func(_ *clusterv1.Machine, m *infrav1.EdgeMachine) {
			m.Spec.Links[0].Name = link
			m.Spec.Interfaces = []infrav1.Interface{{Network: network, Link: link}}
		}
	}
	twoNetworks := func(kind infrav1.DataplaneType) func(*infrav1.EdgeCluster) {
		return func(c *infrav1.EdgeCluster) {
			encrypted(kind, infrav1.EncryptionRequired)(c)
			c.Spec.Dataplane.Network = "cluster"
			c.Spec.Networks = append(c.Spec.Networks, infrav1.Network{
				Name: "storage", Subnets: []infrav1.Subnet{{CIDR: "198.51.100.0/24"}}, Addresses: infrav1.AddressSource{FromHost: &infrav1.FromHost{}},
			})
		}
	}

	It("has one name on all machines of a cluster", func(ctx context.Context) {
		s := newEncryptedSite(ctx)
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectProvisioned(ctx, "m")
		s.addHost(ctx, "b", 2, nil)
		s.addMachine(ctx, clusterName, "n", withLink("lan0", "cluster"))
		s.expectWaiting(ctx, "n", infrav1.NetworkDataValidCondition, infrav1.UplinkInvalidReason, `network "cluster" is on "lan0" here and on "uplink0" of EdgeMachine m`, "the same name in all machine templates")
		s.deleteMachine(ctx, "m")
		s.expectGone(ctx, "m")
		s.expectProvisioned(ctx, "n")
	})

	DescribeTable("is on the dataplane's network", func(ctx context.Context, kind infrav1.DataplaneType, change func(*infrav1.EdgeMachine), texts ...string) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, twoNetworks(kind))
		s.addHost(ctx, "a", 1, annotateAddresses("cluster=192.0.2.21,storage=198.51.100.21"))
		s.addMachine(ctx, clusterName, "m", func(_ *clusterv1.Machine, m *infrav1.EdgeMachine) { change(m) })
		if len(texts) == 0 {
			s.expectProvisioned(ctx, "m")
			return
		}
		s.expectWaiting(ctx, "m", infrav1.NetworkDataValidCondition, infrav1.UplinkInvalidReason, texts...)
		Expect(s.host(ctx, "a").Spec.Image).To(BeNil())
	},
		Entry("with an interface there", infrav1.DataplaneCalicoVPP, func(m *infrav1.EdgeMachine) {
			m.Spec.Interfaces = append(m.Spec.Interfaces, infrav1.Interface{Network: "storage", Link: "uplink0"})
		}),
		Entry("and not without", infrav1.DataplaneCalicoNftables, func(m *infrav1.EdgeMachine) {
			m.Spec.Interfaces = []infrav1.Interface{{Network: "storage", Link: "uplink0"}}
		}, `none is in network "cluster"`, "add one to the machine template"),
		Entry("first of all with VPP", infrav1.DataplaneCalicoVPP, func(m *infrav1.EdgeMachine) {
			m.Spec.Interfaces = []infrav1.Interface{{Network: "storage", Link: "uplink0"}, {Network: "cluster", Link: "uplink0"}}
		}, "must be the one in network \"cluster\"", "change their order"),
		Entry("in any order without VPP", infrav1.DataplaneCalicoEBPF, func(m *infrav1.EdgeMachine) {
			m.Spec.Interfaces = []infrav1.Interface{{Network: "storage", Link: "uplink0"}, {Network: "cluster", Link: "uplink0"}}
		}),
	)
})

var _ = Describe("The pre-shared key of a cluster", func() {
	withIPsec := func(c *infrav1.EdgeCluster) {
		encrypted(infrav1.DataplaneCalicoVPP, infrav1.EncryptionRequired)(c)
		c.Spec.Dataplane.Encryption.Protocol = infrav1.ProtocolIPsec
	}

	It("is made once, and missed when it is lost while hosts have it", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, withIPsec)
		secret := &corev1.Secret{}
		Eventually(func() error { return server.Client.Get(ctx, s.key("edge-ipsec-psk"), secret) }).Should(Succeed())
		decoded, err := base64.StdEncoding.DecodeString(string(secret.Data["psk"]))
		Expect(err).NotTo(HaveOccurred())
		Expect(decoded).To(HaveLen(32))
		Expect(owners(secret)).To(Equal([]string{"EdgeCluster/edge"}))
		Expect(secret.Immutable).To(HaveValue(BeTrue()))
		Expect(secret.Labels).To(HaveKeyWithValue(clusterv1.ClusterNameLabel, clusterName))

		By("giving hosts no WireGuard key")
		s.addHost(ctx, "a", 1, nil)
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectProvisioned(ctx, "m")
		Expect(apierrors.IsNotFound(server.Client.Get(ctx, s.key("m-wireguard"), &corev1.Secret{}))).To(BeTrue())
		Expect(s.operator.Boots(s.hostName("a"))[0].UserData).To(And(ContainSubstring("vhost_net"), Not(ContainSubstring("wireguard create"))))
		Expect(s.holders(ctx, string(secret.Data["psk"]))).To(ConsistOf("Secret/edge-ipsec-psk"))

		By("losing it")
		Expect(server.Client.Delete(ctx, secret)).To(Succeed())
		Eventually(s.clusterCondition(ctx, infrav1.EncryptionReadyCondition)).Should(waitFor(infrav1.KeyLostReason, "Secret edge-ipsec-psk was deleted", "restore the Secret"))
		Expect(apierrors.IsNotFound(server.Client.Get(ctx, s.key("edge-ipsec-psk"), &corev1.Secret{}))).To(BeTrue())
	})

	It("is not taken from somebody else", func(ctx context.Context) {
		s := newSite(ctx)
		foreign := &corev1.Secret{ObjectMeta: s.meta("edge-ipsec-psk"), Data: map[string][]byte{"psk": []byte("mine")}}
		Expect(server.Client.Create(ctx, foreign)).To(Succeed())
		s.startManager(ctx)
		s.addCluster(ctx, clusterName, withIPsec)
		Eventually(s.clusterCondition(ctx, infrav1.EncryptionReadyCondition)).Should(waitFor(infrav1.KeyUnavailableReason, "Secret edge-ipsec-psk exists and is not ours"))
		Expect(get(ctx, s, "edge-ipsec-psk", &corev1.Secret{}).Data).To(Equal(foreign.Data))
	})
})

var _ = Describe("A machine of an unreachable cluster", func() {
	It("is deleted without withdrawing its key", func(ctx context.Context) {
		s := newEncryptedSite(ctx)
		s.join(ctx, "m", "a")
		s.report(ctx, "a", proved())
		Eventually(s.condition(ctx, "m", infrav1.ReadyCondition)).Should(beTrue())
		_, public := s.keys(ctx, "m")
		Expect(s.manager.Stop()).To(Succeed())
		s.gate.Shut(true)
		s.startManager(ctx)
		Eventually(func() bool {
			return conditions.IsTrue(s.edgeMachine(ctx, "m"), infrav1.NodeLinkedCondition)
		}).Should(BeFalse())
		Expect(s.condition(ctx, "m", infrav1.EncryptionReadyCondition)(Default)).To(HaveField("Status", metav1.ConditionUnknown))
		s.deleteMachine(ctx, "m")
		s.expectGone(ctx, "m")
		Expect(s.published(ctx, "a")()).To(Equal(public))
	})
})
