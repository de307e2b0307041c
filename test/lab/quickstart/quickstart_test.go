// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package quickstart_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/machine"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/quickstart"
)

const (
	startTimeout = 30 * time.Minute // tools may have to be built
	stepTimeout  = 3 * time.Minute
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard()) // libraries complain when there is none; the lab has its own
	os.Exit(m.Run())
}

// journey is one person's way through the lab, in steps that build on each other.
type journey struct {
	here  *lab.Lab
	there *lab.Lab // where the cluster is moved to
}

// The whole life of a cluster with real clusterctl and kubectl: quick start, more workers, move to
// another management cluster, deletion there.
func TestJourneyOfACluster(t *testing.T) {
	release, err := lab.FindRelease()
	if err != nil {
		t.Skip(err) // `make test` makes one
	}
	var rack *machine.Rack
	here := start(t, lab.Options{EdgeMetal: release, Iron: func(c *iron.Config) {
		rack = iron.NewRack(*c)
		c.Rack = rack
	}})
	t.Cleanup(rack.Close)
	there := start(t, lab.Options{EdgeMetal: release, Iron: func(c *iron.Config) { c.Rack = rack }})
	j := &journey{here: here, there: there}
	for _, step := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"quick start", j.quickStart},
		{"a second quick start changes nothing", j.quickStart},
		{"scale", j.scale},
		{"move", j.move},
		{"delete", j.remove},
	} {
		if !t.Run(step.name, step.run) {
			t.FailNow() // the steps build on each other
		}
	}
}

func (j *journey) quickStart(t *testing.T) {
	t.Helper()
	var out bytes.Buffer
	if err := quickstart.Run(t.Context(), j.here.Access, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, wanted := range []string{
		"cluster edge-1 is available and its 3 machines are ready", "$ clusterctl describe cluster edge-1", "control-plane", "make quickstart-down",
	} {
		if !strings.Contains(out.String(), wanted) {
			t.Errorf("the quick start did not print %q:\n%s", wanted, out.String())
		}
	}
}

func (j *journey) scale(t *testing.T) {
	t.Helper()
	kubectl(t, j.here, "scale", "machinedeployment", "edge-1-workers", "--replicas", "4")
	eventually(t, "5 machines ready", func() bool { return readyMachines(t, j.here) == 5 })
}

func (j *journey) move(t *testing.T) {
	t.Helper()
	clusterctl(t, j.there, "init", "--infrastructure", "edgemetal", "--ipam", "in-cluster", "--wait-providers")
	before := hostStates(t, j.here)
	boots := countBoots(t, j.here)
	clusterctl(t, j.here, "move", "--to-kubeconfig", j.there.Kubeconfig)
	if left := hostStates(t, j.here); len(left) > 0 {
		t.Errorf("hosts that stayed behind: %v", left)
	}
	eventually(t, "5 machines ready after the move", func() bool { return readyMachines(t, j.there) == 5 })
	if after := hostStates(t, j.there); !maps.Equal(before, after) {
		t.Errorf("hosts before the move %v, after it %v", before, after)
	}
	if after := countBoots(t, j.here); after != boots {
		t.Errorf("machines booted %d times before the move and %d times after it:\n%s", boots, after, powerHistory(t, j.here))
	}
}

func (j *journey) remove(t *testing.T) {
	t.Helper()
	kubectl(t, j.there, "delete", "cluster", quickstart.Cluster, "--timeout", stepTimeout.String())
	eventually(t, "all hosts available again", func() bool {
		list := &bmov1.BareMetalHostList{}
		if err := j.there.Client().List(t.Context(), list); err != nil {
			return false
		}
		free := 0
		for _, host := range list.Items {
			if host.Status.Provisioning.State == bmov1.StateAvailable && host.Spec.ConsumerRef == nil {
				free++
			}
		}
		return free == 5
	})
	left := kubectl(t, j.there, "get", "clusters,edgeclusters,machines,edgemachines,ipaddressclaims.ipam.cluster.x-k8s.io,ipaddresses.ipam.cluster.x-k8s.io", "--all-namespaces", "-o", "name")
	if strings.TrimSpace(left) != "" {
		t.Errorf("left behind: %s", left)
	}
}

func start(t *testing.T, o lab.Options) *lab.Lab {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	o.Dir, o.Out = t.TempDir(), os.Stderr
	l, err := lab.Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Stop)
	return l
}

func clusterctl(t *testing.T, l *lab.Lab, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), stepTimeout)
	defer cancel()
	if _, err := l.Clusterctl(ctx, args...); err != nil {
		t.Fatal(err)
	}
}

func kubectl(t *testing.T, l *lab.Lab, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), stepTimeout)
	defer cancel()
	out, err := l.Kubectl(ctx, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func readyMachines(t *testing.T, l *lab.Lab) int {
	t.Helper()
	list := &clusterv1.MachineList{}
	if err := l.Client().List(t.Context(), list, client.InNamespace(metav1.NamespaceDefault)); err != nil {
		return -1
	}
	ready := 0
	for _, m := range list.Items {
		if meta.IsStatusConditionTrue(m.Status.Conditions, clusterv1.MachineReadyCondition) {
			ready++
		}
	}
	return ready
}

// hostStates maps each host to its state and what it runs. (The ID of its provisioning changes when it
// moves: another baremetal-operator has registered it.)
func hostStates(t *testing.T, l *lab.Lab) map[string]string {
	t.Helper()
	list := &bmov1.BareMetalHostList{}
	if err := l.Client().List(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, host := range list.Items {
		found[host.Name] = string(host.Status.Provisioning.State) + " " + host.Status.Provisioning.Image.URL
	}
	return found
}

// countBoots counts how often the machines have booted, from their consoles.
func countBoots(t *testing.T, l *lab.Lab) int {
	t.Helper()
	consoles, err := filepath.Glob(l.ConsoleGlob())
	if err != nil || len(consoles) == 0 {
		t.Fatalf("consoles of the hosts: %v, %v", consoles, err)
	}
	boots := 0
	for _, console := range consoles {
		data, err := os.ReadFile(console)
		if err != nil {
			t.Fatal(err)
		}
		boots += strings.Count(string(data), "booting image")
	}
	return boots
}

// powerHistory is what the consoles tell of the machines' power.
func powerHistory(t *testing.T, l *lab.Lab) string {
	t.Helper()
	consoles, err := filepath.Glob(l.ConsoleGlob())
	if err != nil {
		t.Fatal(err)
	}
	var history strings.Builder
	for _, console := range consoles {
		data, err := os.ReadFile(console)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&history, console)
		for line := range strings.Lines(string(data)) {
			if strings.Contains(line, "booting image") || strings.Contains(line, "power off") {
				history.WriteString("  " + line)
			}
		}
	}
	return history.String()
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(stepTimeout)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("after %s not yet: %s", stepTimeout, what)
		}
		time.Sleep(500 * time.Millisecond)
	}
}
