// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/hosts"
)

func siteNetwork() infrav1.Network {
	return infrav1.Network{
		Name:        "cluster",
		Subnets:     []infrav1.Subnet{{CIDR: "192.0.2.0/24", Gateway: "192.0.2.1"}},
		Nameservers: []string{"192.0.2.53"},
		Addresses:   infrav1.AddressSource{FromHost: &infrav1.FromHost{}},
	}
}

func site(change func(*infrav1.EdgeCluster, *clusterv1.Cluster)) *clusterScope {
	s := &clusterScope{
		edgeCluster: &infrav1.EdgeCluster{Spec: infrav1.EdgeClusterSpec{
			ControlPlaneEndpoint: infrav1.APIEndpoint{Host: "192.0.2.10", Port: 6443},
			ControlPlaneVIP:      infrav1.ControlPlaneVIP{Mode: infrav1.VIPModeARP},
			Networks:             []infrav1.Network{siteNetwork()},
		}},
		cluster: &clusterv1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: "edge-1"}},
	}
	change(s.edgeCluster, s.cluster)
	return s
}

func TestJudgeNetworks(t *testing.T) {
	for name, test := range map[string]struct {
		change      func(*infrav1.EdgeCluster, *clusterv1.Cluster)
		wantReason  string
		wantMessage string
	}{
		"apart": {func(_ *infrav1.EdgeCluster, c *clusterv1.Cluster) {
			c.Spec.ClusterNetwork.Pods.CIDRBlocks = []string{"10.244.0.0/16"}
		}, infrav1.NetworksValidReason, ""},
		"pods overlap": {func(_ *infrav1.EdgeCluster, c *clusterv1.Cluster) {
			c.Spec.ClusterNetwork.Pods.CIDRBlocks = []string{"192.0.0.0/16"}
		}, infrav1.NetworksInvalidReason, `spec.clusterNetwork.pods of Cluster edge-1 contains 192.0.0.0/16, which overlaps 192.0.2.0/24 of network "cluster"; use another range`},
		"services overlap": {func(_ *infrav1.EdgeCluster, c *clusterv1.Cluster) {
			c.Spec.ClusterNetwork.Services.CIDRBlocks = []string{"192.0.2.128/25"}
		}, infrav1.NetworksInvalidReason, `spec.clusterNetwork.services of Cluster edge-1 contains 192.0.2.128/25, which overlaps 192.0.2.0/24 of network "cluster"; use another range`},
		"both overlap": {func(_ *infrav1.EdgeCluster, c *clusterv1.Cluster) {
			c.Spec.ClusterNetwork.Pods.CIDRBlocks = []string{"192.0.0.0/16"}
			c.Spec.ClusterNetwork.Services.CIDRBlocks = []string{"192.0.2.128/25"}
		}, infrav1.NetworksInvalidReason, `spec.clusterNetwork.pods of Cluster edge-1 contains 192.0.0.0/16, which overlaps 192.0.2.0/24 of network "cluster"; use another range`},
	} {
		t.Run(name, func(t *testing.T) {
			// Many times: a message that changes is written again and again, and wakes the controller each time.
			for range 100 {
				if got := judgeNetworks(site(test.change)); got.Reason != test.wantReason || got.Message != test.wantMessage {
					t.Fatalf("got %s: %s\nwant %s: %s", got.Reason, got.Message, test.wantReason, test.wantMessage)
				}
			}
		})
	}
}

func TestJudgeEndpoint(t *testing.T) {
	endpoint := func(host string, mode infrav1.VIPMode) func(*infrav1.EdgeCluster, *clusterv1.Cluster) {
		return func(c *infrav1.EdgeCluster, _ *clusterv1.Cluster) {
			c.Spec.ControlPlaneEndpoint.Host, c.Spec.ControlPlaneVIP.Mode = host, mode
		}
	}
	for name, test := range map[string]struct {
		change func(*infrav1.EdgeCluster, *clusterv1.Cluster)
		want   string
	}{
		"inside":                    {endpoint("192.0.2.10", infrav1.VIPModeARP), infrav1.ControlPlaneEndpointReadyReason},
		"outside every network":     {endpoint("198.51.100.1", infrav1.VIPModeARP), infrav1.EndpointOutsideNetworksReason},
		"outside, announced by BGP": {endpoint("198.51.100.1", infrav1.VIPModeBGP), infrav1.ControlPlaneEndpointReadyReason},
		"outside, a load balancer":  {endpoint("198.51.100.1", infrav1.VIPModeExternal), infrav1.ControlPlaneEndpointReadyReason},
		"a DNS name":                {endpoint("api.example.org", infrav1.VIPModeExternal), infrav1.ControlPlaneEndpointReadyReason},
		"the gateway":               {endpoint("192.0.2.1", infrav1.VIPModeARP), infrav1.EndpointTakenReason},
		"the nameserver":            {endpoint("192.0.2.53", infrav1.VIPModeARP), infrav1.EndpointTakenReason},
		"none":                      {endpoint("", infrav1.VIPModeExternal), infrav1.WaitingForEndpointReason},
		"DHCP network of any subnet": {func(c *infrav1.EdgeCluster, _ *clusterv1.Cluster) {
			c.Spec.ControlPlaneEndpoint.Host = "198.51.100.1"
			c.Spec.Networks = []infrav1.Network{{Name: "lan", Addresses: infrav1.AddressSource{DHCP: &infrav1.DHCP{}}}}
		}, infrav1.ControlPlaneEndpointReadyReason},
		"set by the control-plane provider": {func(c *infrav1.EdgeCluster, cluster *clusterv1.Cluster) {
			c.Spec.ControlPlaneEndpoint, c.Spec.ControlPlaneVIP = infrav1.APIEndpoint{}, infrav1.ControlPlaneVIP{}
			cluster.Spec.ControlPlaneEndpoint = clusterv1.APIEndpoint{Host: "203.0.113.1", Port: 6443}
		}, infrav1.ControlPlaneEndpointReadyReason},
	} {
		t.Run(name, func(t *testing.T) {
			if got := judgeEndpoint(site(test.change)); got.Reason != test.want {
				t.Errorf("got %s: %s; want %s", got.Reason, got.Message, test.want)
			}
		})
	}
}

func freeHost(name, domain string) bmov1.BareMetalHost {
	return bmov1.BareMetalHost{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{infrav1.FailureDomainLabel: domain}},
		Status: bmov1.BareMetalHostStatus{
			OperationalStatus: bmov1.OperationalStatusOK,
			Provisioning:      bmov1.ProvisionStatus{State: bmov1.StateAvailable},
			HardwareDetails:   &bmov1.HardwareDetails{CPU: bmov1.CPU{Count: 8, Arch: "x86_64"}, RAMMebibytes: 16384, Storage: []bmov1.Storage{{SizeBytes: 100 * bmov1.GigaByte}}},
		},
	}
}

func hardwareInStatus(host *bmov1.BareMetalHost) *bmov1.HardwareDetails {
	return host.Status.HardwareDetails
}

func TestJudgeHosts(t *testing.T) {
	ours, theirs := freeHost("b", ""), freeHost("c", "")
	ours.Spec.ConsumerRef = &corev1.ObjectReference{Kind: "EdgeMachine", Name: "m"}
	theirs.Spec.ConsumerRef = &corev1.ObjectReference{Kind: "EdgeMachine", Name: "other"}
	s := site(func(_ *infrav1.EdgeCluster, cluster *clusterv1.Cluster) {
		cluster.Status.ControlPlane = &clusterv1.ClusterControlPlaneStatus{DesiredReplicas: new(int32(1))}
		cluster.Status.Workers = &clusterv1.WorkersStatus{DesiredReplicas: new(int32(1))}
	})
	free := freeHost("a", "rack-1")
	s.hosts, s.machines = []*bmov1.BareMetalHost{&free, &ours, &theirs}, map[string]bool{"m": true}
	want := func(reason, message string) {
		t.Helper()
		if got := judgeHosts(t.Context(), s, hardwareInStatus); got.Reason != reason || got.Message != message {
			t.Errorf("got %s: %s\nwant %s: %s", got.Reason, got.Message, reason, message)
		}
	}
	want(infrav1.HostsAvailableReason, "2 hosts for 2 machines")

	s.edgeCluster.Spec.FailureDomains = []infrav1.FailureDomain{{Name: "rack-1"}, {Name: "rack-2"}}
	want(infrav1.FailureDomainWithoutHostsReason, "No usable host has the label infrastructure.cluster.x-k8s.io/failure-domain=rack-2; label one or remove the failure domain")

	s.cluster.Status.Workers.DesiredReplicas = new(int32(2))
	want(infrav1.NotEnoughHostsReason, "2 hosts for 3 machines; add or free hosts that the templates' hostSelector matches, or scale down")

	s.selectors = []infrav1.HostSelector{{Hardware: infrav1.HardwareRequirements{MinCPUs: 64}}}
	want(infrav1.NotEnoughHostsReason, "1 hosts for 3 machines; add or free hosts that the templates' hostSelector matches, or scale down")
}

func TestHostAddresses(t *testing.T) {
	got, err := hostAddresses(" cluster=192.0.2.21, storage=2001:db8::21 ,")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]netip.Addr{"cluster": netip.MustParseAddr("192.0.2.21"), "storage": netip.MustParseAddr("2001:db8::21")}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"cluster", "cluster=", "cluster=192.0.2.21/24", "a=192.0.2.1,a=192.0.2.2"} {
		if _, err := hostAddresses(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestConditionsBehindAWait(t *testing.T) {
	s := &machineScope{edgeMachine: &infrav1.EdgeMachine{ObjectMeta: metav1.ObjectMeta{Generation: 3}}}
	s.reached(infrav1.HostClaimedCondition, infrav1.HostClaimedReason, "BareMetalHost h")
	s.wait(infrav1.NetworkDataValidCondition, infrav1.LinkUnresolvedReason, "no NIC")
	updateMachineStatus(s)
	want := []metav1.Condition{
		{Type: infrav1.ReadyCondition, Status: metav1.ConditionFalse, Reason: infrav1.LinkUnresolvedReason, Message: "NetworkDataValid: no NIC"},
		{Type: infrav1.HostClaimedCondition, Status: metav1.ConditionTrue, Reason: infrav1.HostClaimedReason, Message: "BareMetalHost h"},
		{Type: infrav1.NetworkDataValidCondition, Status: metav1.ConditionFalse, Reason: infrav1.LinkUnresolvedReason, Message: "no NIC"},
		{Type: infrav1.ReleasedCondition, Status: metav1.ConditionUnknown, Reason: infrav1.WaitingForEarlierStepReason, Message: "Waiting for NetworkDataValid"},
		{Type: infrav1.NodeLinkedCondition, Status: metav1.ConditionUnknown, Reason: infrav1.WaitingForEarlierStepReason, Message: "Waiting for NetworkDataValid"},
	}
	for _, condition := range want {
		got := conditions.Get(s.edgeMachine, condition.Type)
		if got == nil || got.Status != condition.Status || got.Reason != condition.Reason || got.Message != condition.Message || got.ObservedGeneration != 3 {
			t.Errorf("got %+v\nwant %+v", got, condition)
		}
	}
}

func TestConditionsStayTrueBehindALateFailure(t *testing.T) {
	s := &machineScope{edgeMachine: &infrav1.EdgeMachine{Spec: infrav1.EdgeMachineSpec{ProviderID: "edgemetal://n/h/m"}}}
	for _, condition := range machineConditions(s) {
		s.reached(condition, "Done", "")
	}
	s.judged = nil
	s.wait(infrav1.HostClaimedCondition, infrav1.HostLostReason, "gone")
	updateMachineStatus(s)
	if !conditions.IsTrue(s.edgeMachine, infrav1.NodeLinkedCondition) {
		t.Error("NodeLinked was true and nothing has been said about it since")
	}
	if got := conditions.GetReason(s.edgeMachine, infrav1.ReadyCondition); got != infrav1.HostLostReason {
		t.Errorf("Ready has reason %s, want %s", got, infrav1.HostLostReason)
	}
	if !isTrue(s.edgeMachine.Status.Initialization.Provisioned) {
		t.Error("a machine with a provider ID counts as provisioned")
	}
}

func TestTemplateStatus(t *testing.T) {
	small, large, arm := freeHost("small", ""), freeHost("large", ""), freeHost("arm", "")
	large.Status.HardwareDetails.CPU.Count, large.Status.HardwareDetails.RAMMebibytes = 64, 8192
	arm.Status.HardwareDetails.CPU.Arch = "aarch64"
	request := hosts.Request{Labels: labels.Everything()}

	got := templateStatus(request, []bmov1.BareMetalHost{small, large}, hardwareInStatus)
	want := corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse("8"),
		corev1.ResourceMemory:           resource.MustParse("8Gi"),
		corev1.ResourceEphemeralStorage: *resource.NewQuantity(100_000_000_000, resource.BinarySI),
	}
	if diff := cmp.Diff(want, got.Capacity); diff != "" {
		t.Errorf("capacity (-want +got):\n%s", diff)
	}
	if got.NodeInfo != (infrav1.NodeInfo{Architecture: "amd64", OperatingSystem: "linux"}) {
		t.Errorf("nodeInfo %+v", got.NodeInfo)
	}
	if mixed := templateStatus(request, []bmov1.BareMetalHost{small, arm}, hardwareInStatus); mixed.NodeInfo.Architecture != "" {
		t.Errorf("hosts of two architectures were reported as %s", mixed.NodeInfo.Architecture)
	}
	if none := templateStatus(request, nil, hardwareInStatus); none.Capacity != nil || none.NodeInfo != (infrav1.NodeInfo{}) {
		t.Errorf("no host, but %+v", none)
	}
}

func TestWarningsAreToldOnce(t *testing.T) {
	s := &machineScope{edgeMachine: &infrav1.EdgeMachine{}}
	before := s.edgeMachine.DeepCopy()
	s.wait(infrav1.HostClaimedCondition, infrav1.NoHostMatchesReason, "no host matches: 1 seen, 1 in use")
	updateMachineStatus(s)
	if got := newWarnings(before, s.edgeMachine); len(got) != 1 || got[0].Reason != infrav1.NoHostMatchesReason {
		t.Errorf("got %+v, want one warning", got)
	}
	before = s.edgeMachine.DeepCopy()
	s.wait(infrav1.HostClaimedCondition, infrav1.NoHostMatchesReason, "no host matches: 2 seen, 2 in use")
	updateMachineStatus(s)
	if got := newWarnings(before, s.edgeMachine); len(got) != 0 {
		t.Errorf("got %+v again", got)
	}
	s.wait(infrav1.HostClaimedCondition, infrav1.WaitingForClusterReason, "normal")
	if got := newWarnings(before, s.edgeMachine); len(got) != 0 {
		t.Errorf("waiting is no warning, got %+v", got)
	}
}
