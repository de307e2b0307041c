// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/calico"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/apply"
)

func TestDecideRollout(t *testing.T) {
	start := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	old := func(node string) rolloutPod {
		return rolloutPod{name: "old-" + node, node: node, outdated: true, ready: true, started: start.Add(-time.Hour)}
	}
	fresh := func(node string) rolloutPod {
		return rolloutPod{name: "new-" + node, node: node, ready: true, started: start}
	}
	broken := func(p rolloutPod) rolloutPod { p.ready = false; return p }
	leaving := func(p rolloutPod) rolloutPod { p.deleting = true; return p }
	proved := nodeReport{status: corev1.ConditionTrue, seen: start.Add(time.Second)}
	before := nodeReport{status: corev1.ConditionTrue, seen: start.Add(-time.Second)}
	lost := nodeReport{status: corev1.ConditionFalse, seen: start.Add(time.Second), reason: encryption.ReasonPeerMissing, message: "c is no peer"}
	all := map[string]nodeReport{"a": proved, "b": proved, "c": proved}
	with := func(node string, report nodeReport) map[string]nodeReport {
		return map[string]nodeReport{"a": proved, "b": proved, "c": proved, node: report}
	}
	for name, c := range map[string]struct {
		pods    []rolloutPod
		reports map[string]nodeReport
		lenient bool
		// remove is the name of the pod to delete, wait a part of what is awaited.
		remove, wait string
		done         int
	}{
		"first installation":         {pods: []rolloutPod{broken(fresh("a")), broken(fresh("b"))}, done: 3},
		"nothing to do":              {pods: []rolloutPod{fresh("a"), fresh("b"), fresh("c")}, reports: all, done: 3},
		"first node":                 {pods: []rolloutPod{old("c"), old("a"), old("b")}, reports: all, remove: "old-a"},
		"pod on its way out":         {pods: []rolloutPod{leaving(old("a")), old("b"), old("c")}, reports: all, wait: "node a: pod old-a is being replaced"},
		"pod not there yet":          {pods: []rolloutPod{old("b"), old("c")}, reports: all, wait: "2 of 3 nodes have one"},
		"new pod not ready":          {pods: []rolloutPod{broken(fresh("a")), old("b"), old("c")}, reports: all, wait: "node a: pod new-a is not ready"},
		"not reported since":         {pods: []rolloutPod{fresh("a"), old("b"), old("c")}, reports: with("a", before), wait: "node a: it has not reported since"},
		"not proved":                 {pods: []rolloutPod{fresh("a"), old("b"), old("c")}, reports: with("a", lost), wait: "PeerMissing (c is no peer)"},
		"reports nothing":            {pods: []rolloutPod{fresh("a"), old("b"), old("c")}, reports: map[string]nodeReport{}, wait: "node a: it does not report"},
		"proof not required":         {pods: []rolloutPod{fresh("a"), old("b"), old("c")}, lenient: true, remove: "old-b", done: 1},
		"next node":                  {pods: []rolloutPod{fresh("a"), old("b"), old("c")}, reports: all, remove: "old-b", done: 1},
		"another node is not proved": {pods: []rolloutPod{fresh("a"), old("b"), old("c")}, reports: with("c", lost), remove: "old-c", done: 1},
		"a change repairs":           {pods: []rolloutPod{old("a"), broken(old("b")), old("c")}, reports: with("b", lost), remove: "old-b"},
		"a repair comes first":       {pods: []rolloutPod{fresh("a"), broken(old("b")), old("c")}, reports: with("a", lost), remove: "old-b"},
		"one repair at a time":       {pods: []rolloutPod{leaving(broken(old("a"))), broken(old("b")), old("c")}, reports: all, wait: "node a"},
		"stopped by a node":          {pods: []rolloutPod{fresh("a"), broken(fresh("b")), old("c")}, reports: all, wait: "node b", done: 1},
	} {
		t.Run(name, func(t *testing.T) {
			d := decideRollout(c.pods, c.reports, 3, !c.lenient)
			removed := ""
			if d.remove != nil {
				removed = d.remove.name
			}
			if removed != c.remove || d.done != c.done || c.wait == "" != (d.wait == "") || !strings.Contains(d.wait, c.wait) {
				t.Errorf("remove %q, wait %q, %d done; want %q, %q, %d", removed, d.wait, d.done, c.remove, c.wait, c.done)
			}
		})
	}
}

// TestRolloutTouchesOneNode walks through rollouts of every size with a cluster that follows: never are two nodes without a pod that
// is ready and proved.
func TestRolloutTouchesOneNode(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for size := 1; size <= 6; size++ {
		var pods []rolloutPod
		reports := map[string]nodeReport{}
		for i := range size {
			node := fmt.Sprint("n", i)
			pods = append(pods, rolloutPod{name: "old-" + node, node: node, outdated: true, ready: true, started: now})
			reports[node] = nodeReport{status: corev1.ConditionTrue, seen: now.Add(time.Second)}
		}
		removed, rounds := 0, 0
		for ; rounds < 10*size; rounds++ {
			d := decideRollout(pods, reports, size, true)
			if d.remove == nil && d.wait == "" {
				break
			}
			now = now.Add(time.Minute)
			away := 0
			for i := range pods {
				switch p := &pods[i]; {
				case d.remove != nil && p.name == d.remove.name:
					p.deleting = true
					removed++
				case p.deleting:
					*p = rolloutPod{name: "new-" + p.node, node: p.node, started: now}
				case !p.ready:
					p.ready = true
				case !p.outdated && !reports[p.node].seen.After(p.started):
					reports[p.node] = nodeReport{status: corev1.ConditionTrue, seen: now}
				}
				if p := pods[i]; p.deleting || !p.ready || !reports[p.node].seen.After(p.started) {
					away++
				}
			}
			if away > 1 {
				t.Fatalf("%d nodes of %d are away at once", away, size)
			}
		}
		if removed != size || decideRollout(pods, reports, size, true).done != size {
			t.Errorf("%d of %d pods replaced in %d rounds", removed, size, rounds)
		}
	}
}

func TestRolloutPod(t *testing.T) {
	start := metav1.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Annotations: map[string]string{templateHash: "1"}},
		Spec:       corev1.PodSpec{NodeName: "n"},
		Status: corev1.PodStatus{
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
			ContainerStatuses: []corev1.ContainerStatus{
				{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(start.Add(time.Minute))}}},
				{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: start}}},
			},
		},
	}
	want := rolloutPod{name: "p", node: "n", ready: true, started: start.Add(time.Minute)}
	if diff := cmp.Diff(want, newRolloutPod(pod, "1"), cmp.AllowUnexported(rolloutPod{})); diff != "" {
		t.Errorf("pod (-want +got):\n%s", diff)
	}
	if !newRolloutPod(pod, "2").outdated {
		t.Error("a pod of another template is not outdated")
	}
}

// Right after a change the cache still has the DaemonSet as it was: all pods up to date. That must not end a rollout before it begins.
func TestRolloutAwaitsTheCache(t *testing.T) {
	daemons := &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "d", Generation: 1},
		Status:     appsv1.DaemonSetStatus{ObservedGeneration: 1, DesiredNumberScheduled: 3, CurrentNumberScheduled: 3, UpdatedNumberScheduled: 3, NumberReady: 3},
	}
	inventory := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "inventory"}, Data: map[string]string{
		"objects.json": `[{"group":"apps","version":"v1","kind":"DaemonSet","namespace":"ns","name":"d","hash":"h","seen":"of generation 2"}]`,
	}}
	c := fake.NewClientBuilder().WithObjects(daemons, inventory).WithStatusSubresource(daemons).Build()
	rule := calico.Readiness{Kind: calico.RolledOut, APIVersion: "apps/v1", ObjectKind: "DaemonSet", Namespace: "ns", Name: "d"}
	set := stepObjects{rollouts: []rollout{{key: client.ObjectKeyFromObject(daemons)}}}
	set.Ready = []calico.Readiness{rule}
	look := func(inventory string) (*dataplaneScope, proceed) {
		t.Helper()
		applied, err := apply.Load(t.Context(), c, client.ObjectKey{Namespace: "ns", Name: inventory})
		if err != nil {
			t.Fatal(err)
		}
		s := &dataplaneScope{edgeCluster: &infrav1.EdgeCluster{}, memory: &siteMemory{applied: applied}, sets: []stepObjects{set}}
		s.applier = apply.Applier{Live: c, Cache: c}
		goOn, err := (&DataplaneReconciler{}).rollOut(t.Context(), s, 0)
		if err != nil {
			t.Fatal(err)
		}
		return s, goOn
	}
	s, goOn := look("inventory")
	if goOn || s.condition.Reason != infrav1.RollingOutReason || s.condition.Message != "d: its last change has not been taken up yet" || s.requeueAfter == 0 {
		t.Errorf("goes on %t, again in %s: %s: %s", goOn, s.requeueAfter, s.condition.Reason, s.condition.Message)
	}
	if s, goOn := look("of somebody else's"); !goOn {
		t.Errorf("waits for an object that was not applied: %s", s.condition.Message)
	}
}

// An API server serves a kind some time after the last change of its definition, and tells nobody.
func TestKindsThatAreNotServedAreAskedForAgain(t *testing.T) {
	c := fake.NewClientBuilder().WithRESTMapper(meta.NewDefaultRESTMapper(nil)).Build()
	applied, err := apply.Load(t.Context(), c, client.ObjectKey{Namespace: "ns", Name: "inventory"})
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range []calico.Readiness{
		{Kind: calico.Established, APIVersion: "apiextensions.k8s.io/v1", ObjectKind: "CustomResourceDefinition", Name: "tigerastatuses.operator.tigera.io"},
		{Kind: calico.TigeraAvailable, APIVersion: "operator.tigera.io/v1", ObjectKind: "TigeraStatus", Name: "calico"},
	} {
		set := stepObjects{}
		set.Ready = []calico.Readiness{rule}
		s := &dataplaneScope{edgeCluster: &infrav1.EdgeCluster{}, memory: &siteMemory{applied: applied}, sets: []stepObjects{set}}
		s.applier = apply.Applier{Live: c, Cache: c}
		goOn, err := (&DataplaneReconciler{}).awaitReady(t.Context(), s, 0)
		if err != nil {
			t.Fatal(err)
		}
		if bool(goOn) || s.requeueAfter != retryServed || !strings.Contains(s.condition.Message, "waiting for "+rule.ObjectKind+" "+rule.Name+": it ") {
			t.Errorf("%s: goes on %t, again in %s: %s", rule.Kind, goOn, s.requeueAfter, s.condition.Message)
		}
	}
}

func TestStampTemplate(t *testing.T) {
	object := func(strategy, image string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": map[string]any{"namespace": "ns", "name": "d"},
			"spec": map[string]any{
				"updateStrategy": map[string]any{"type": strategy},
				"template":       map[string]any{"spec": map[string]any{"containers": []any{map[string]any{"name": "c", "image": image}}}},
			},
		}}
	}
	hash := func(o *unstructured.Unstructured) string {
		t.Helper()
		rolling, err := stampTemplate(o)
		if err != nil {
			t.Fatal(err)
		}
		if rolling == nil {
			return ""
		}
		if stamped, _, _ := unstructured.NestedString(o.Object, "spec", "template", "metadata", "annotations", templateHash); stamped != rolling.hash {
			t.Errorf("pods carry %q instead of %q", stamped, rolling.hash)
		}
		return rolling.hash
	}
	one := hash(object("OnDelete", "one"))
	if one == "" || one != hash(object("OnDelete", "one")) || one == hash(object("OnDelete", "two")) {
		t.Error("the hash does not tell templates apart")
	}
	if hash(object("RollingUpdate", "one")) != "" {
		t.Error("a rolling update is stamped")
	}
}

func TestLosePatience(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	memory := &siteMemory{}
	look := func(message string) (string, time.Duration) {
		condition := metav1.Condition{Status: metav1.ConditionFalse, Message: message}
		left := memory.losePatience(&condition, "see its log", now)
		return condition.Message, left
	}
	if got, left := look("waiting for a"); got != "waiting for a" || left != patience {
		t.Errorf("%q, %s", got, left)
	}
	now = now.Add(10 * time.Minute)
	if got, left := look("waiting for b"); got != "waiting for b" || left != patience {
		t.Errorf("progress: %q, %s", got, left)
	}
	now = now.Add(10 * time.Minute)
	if got, left := look("waiting for b"); got != "waiting for b" || left != 5*time.Minute {
		t.Errorf("not long enough: %q, %s", got, left)
	}
	now = now.Add(5 * time.Minute)
	want := "waiting for b. Nothing has changed for 15 minutes: see its log"
	if got, left := look("waiting for b"); got != want || left != 0 {
		t.Errorf("%q, %s", got, left)
	}
	now = now.Add(time.Hour)
	if got, _ := look("waiting for b"); got != want {
		t.Errorf("the message changes again: %q", got)
	}
}

func TestExplain(t *testing.T) {
	key := apply.Key{Name: "default"}
	key.Kind = "FelixConfiguration"
	refused := errors.New("admission webhook denied the request")
	for name, c := range map[string]struct {
		err       error
		installed bool
		reason    string
		status    metav1.ConditionStatus
		message   string
		returned  bool
	}{
		"conflict":     {&apply.ConflictError{Object: key, Causes: []string{`conflict with "kubectl" over .spec.wireguardEnabled`}}, false, infrav1.ObjectConflictReason, metav1.ConditionFalse, `Applying step 1: FelixConfiguration default was there before and is not ours: conflict with "kubectl" over .spec.wireguardEnabled`, false},
		"contested":    {&apply.ContestedError{Object: key, Field: ".spec.x", Managers: []string{"other"}, RetryAfter: time.Second}, false, infrav1.ObjectConflictReason, metav1.ConditionFalse, ".spec.x of FelixConfiguration default is changed again and again by one of: other", false},
		"not served":   {&apply.NotServedError{Object: key}, false, infrav1.InstallingReason, metav1.ConditionFalse, "does not serve", false},
		"disconnected": {fmt.Errorf("x: %w", clustercache.ErrClusterNotConnected), false, infrav1.WorkloadClusterUnreachableReason, metav1.ConditionFalse, "Cluster edge cannot be reached", false},
		"lost":         {&url.Error{Op: "Get", URL: "https://192.0.2.10", Err: &net.OpError{Op: "dial", Err: errors.New("refused")}}, true, infrav1.WorkloadClusterUnreachableReason, metav1.ConditionUnknown, "Cluster edge cannot be reached", false},
		"slow":         {context.DeadlineExceeded, true, infrav1.WorkloadClusterUnreachableReason, metav1.ConditionUnknown, "cannot be reached", false},
		"refused":      {refused, true, infrav1.InternalErrorReason, metav1.ConditionFalse, "denied the request; it is tried again", true},
	} {
		t.Run(name, func(t *testing.T) {
			s := &dataplaneScope{edgeCluster: &infrav1.EdgeCluster{}, cluster: &clusterv1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: "edge"}}}
			if c.installed {
				s.edgeCluster.Status.Conditions = []metav1.Condition{{Type: infrav1.DataplaneInstalledCondition, Status: metav1.ConditionTrue}}
			}
			s.wait(infrav1.InstallingReason, "Applying step 1")
			err := s.explain(c.err)
			if (err != nil) != c.returned || s.condition.Reason != c.reason || s.condition.Status != c.status || !strings.Contains(s.condition.Message, c.message) {
				t.Errorf("%v, %+v", err, s.condition)
			}
			if err == nil && s.requeueAfter == 0 {
				t.Error("it is never tried again")
			}
		})
	}
}

func TestIndexSecrets(t *testing.T) {
	c := &infrav1.EdgeCluster{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{clusterv1.ClusterNameLabel: "edge"}}}
	c.Spec.Dataplane = infrav1.Dataplane{
		Encryption: infrav1.Encryption{Protocol: infrav1.ProtocolIPsec},
		Calico: infrav1.Calico{
			ImagePullSecrets: []infrav1.SecretReference{{Name: "pull"}, {Name: "shared"}},
			Charts:           infrav1.Charts{Credentials: &infrav1.SecretReference{Name: "shared"}, Secret: &infrav1.SecretReference{Name: "charts"}},
		},
		BGP: &infrav1.BGP{Peers: []infrav1.BGPPeer{{Password: &infrav1.SecretReference{Name: "bgp"}}, {}}},
	}
	if diff := cmp.Diff([]string{"bgp", "charts", "edge-ipsec-psk", "pull", "shared"}, indexSecrets(c)); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if got := indexSecrets(&infrav1.EdgeCluster{}); len(got) > 0 {
		t.Errorf("a site without Secrets has %v", got)
	}
}

// A Secret without the label of a cluster is not watched: it is read again, so that another password is taken up.
func TestReadSecretAgain(t *testing.T) {
	secret := func(name string, labels map[string]string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "sites", Name: name, Labels: labels}, Data: map[string][]byte{"password": []byte("a test password")}}
	}
	r := &DataplaneReconciler{Client: fake.NewClientBuilder().WithObjects(
		secret("watched", map[string]string{clusterv1.ClusterNameLabel: "edge"}), secret("plain", nil),
	).Build()}
	for name, want := range map[string]time.Duration{"watched": 0, "plain": 10 * time.Minute, "missing": 0} {
		s := &dataplaneScope{edgeCluster: &infrav1.EdgeCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "sites"}}}
		data, err := r.readSecret(t.Context(), s, name)
		if err != nil {
			t.Fatal(err)
		}
		if found := len(data["password"]) > 0; found != (name != "missing") || s.requeueAfter != want {
			t.Errorf("%s: found %t, read again in %s, want %s", name, found, s.requeueAfter, want)
		}
	}
}

func TestFindUplink(t *testing.T) {
	holder := func(name, link string, provisioned bool) linkHolder {
		return linkHolder{name: name, provisioned: provisioned, spec: infrav1.EdgeMachineSpec{
			Links: []infrav1.Link{{Name: link, Match: &infrav1.NICMatch{BootNIC: new(true)}}}, Interfaces: []infrav1.Interface{{Network: "cluster", Link: link}},
		}}
	}
	for name, c := range map[string]struct {
		holders []linkHolder
		uplink  string
		wait    string
	}{
		"same":                  {[]linkHolder{holder("a", "uplink0", false), holder("b", "uplink0", false)}, "uplink0", ""},
		"different":             {[]linkHolder{holder("a", "uplink0", false), holder("b", "lan0", false)}, "uplink0", `"uplink0" in a and on "lan0" in b`},
		"a new one is wrong":    {[]linkHolder{holder("a", "lan0", false), holder("b", "uplink0", true)}, "uplink0", ""},
		"running ones disagree": {[]linkHolder{holder("a", "lan0", true), holder("b", "uplink0", true)}, "lan0", "same name in all machine templates"},
		"not in the network":    {[]linkHolder{{name: "EdgeMachine a", spec: infrav1.EdgeMachineSpec{Links: []infrav1.Link{{Name: "x"}}}}}, "", "EdgeMachine a: "},
	} {
		t.Run(name, func(t *testing.T) {
			s := &dataplaneScope{edgeCluster: &infrav1.EdgeCluster{}}
			s.edgeCluster.Spec.Networks = []infrav1.Network{{Name: "cluster"}}
			s.input.Network.Name = "cluster"
			goOn := s.findUplink(c.holders)
			if bool(goOn) != (c.wait == "") || s.input.Uplink != c.uplink || !strings.Contains(s.condition.Message, c.wait) {
				t.Errorf("%v, uplink %q, %q", goOn, s.input.Uplink, s.condition.Message)
			}
		})
	}
}
