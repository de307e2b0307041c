// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package iron_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/faults"
)

func TestHostLifecycle(t *testing.T) {
	m := newManager(t)
	m.start(t, func(*iron.Config) {})
	const mac = "02:00:00:00:10:01"
	m.create(t, newHost("host-1", mac))
	m.await(t, "host-1", "misses its Secret", func(h *bmov1.BareMetalHost) bool {
		return h.Status.ErrorType == bmov1.RegistrationError && strings.Contains(h.Status.ErrorMessage, "default/host-1-bmc does not exist")
	})
	m.create(t, bmcSecret("host-1"))
	host := m.await(t, "host-1", "is available", inState(bmov1.StateAvailable))
	if host.Status.ErrorType != "" || host.Status.OperationalStatus != bmov1.OperationalStatusOK || host.Status.GoodCredentials.Version == "" {
		t.Errorf("status %+v", host.Status)
	}
	if !meta.IsStatusConditionTrue(host.Status.Conditions, bmov1.AvailableForProvisioningCondition) {
		t.Errorf("conditions %+v", host.Status.Conditions)
	}
	data := &bmov1.HardwareData{}
	if err := m.Get(t.Context(), client.ObjectKeyFromObject(host), data); err != nil {
		t.Fatal(err)
	}
	if nic := data.Spec.HardwareDetails.NIC[0]; nic.MAC != mac || !nic.PXE || len(data.Spec.HardwareDetails.NIC) != 2 {
		t.Errorf("NICs %+v", data.Spec.HardwareDetails.NIC)
	}

	m.change(t, "host-1", withPayload)
	eventually(t, "provisioning waits for the Secrets", time.Minute, func(ctx context.Context) error {
		host, err := m.host(ctx, "host-1")
		if err == nil && (host.Status.Provisioning.State != bmov1.StateProvisioning || host.Status.ErrorType != "") {
			err = fmt.Errorf("status %+v", host.Status)
		}
		return err
	})
	m.payload(t, "host-1", mac)
	host = m.await(t, "host-1", "is provisioned and on", func(h *bmov1.BareMetalHost) bool {
		return h.Status.Provisioning.State == bmov1.StateProvisioned && h.Status.PoweredOn
	})
	if host.Status.Provisioning.Image != *image() || host.Status.OperationHistory.Provision.End.IsZero() || host.Status.Provisioning.ID != string(host.UID) {
		t.Errorf("provisioning status %+v, history %+v", host.Status.Provisioning, host.Status.OperationHistory)
	}
	m.awaitConsole(t, "host-1", "status 127")
	m.awaitConsole(t, "host-1", "cloud-init: finished")

	m.change(t, "host-1", func(h *bmov1.BareMetalHost) { h.Annotations[bmov1.RebootAnnotationPrefix] = "" })
	eventually(t, "reboot runs bootcmd again and nothing else", time.Minute, func(ctx context.Context) error {
		console := m.console(t, "host-1")
		if strings.Count(console, "this is a boot") != 2 || strings.Count(console, "status 127") != 1 {
			return fmt.Errorf("console:\n%s", console)
		}
		host, err := m.host(ctx, "host-1")
		if _, asked := host.Annotations[bmov1.RebootAnnotationPrefix]; err == nil && (asked || !host.Status.PoweredOn) {
			err = errors.New("the annotation is still there, or the status is that of the host that was off")
		}
		return err
	})
	m.change(t, "host-1", func(h *bmov1.BareMetalHost) { h.Spec.Online = false })
	m.await(t, "host-1", "is off", func(h *bmov1.BareMetalHost) bool { return !h.Status.PoweredOn })

	settled, err := m.host(t.Context(), "host-1")
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	if later, err := m.host(t.Context(), "host-1"); err != nil || later.ResourceVersion != settled.ResourceVersion {
		t.Errorf("a host at rest was written: %v, resource version %s, then %s", err, settled.ResourceVersion, later.ResourceVersion)
	}

	m.change(t, "host-1", func(h *bmov1.BareMetalHost) { h.Spec.Image, h.Spec.UserData, h.Spec.NetworkData = nil, nil, nil })
	host = m.await(t, "host-1", "is available again", inState(bmov1.StateAvailable))
	if host.Status.Provisioning.Image.URL != "" {
		t.Errorf("image %+v", host.Status.Provisioning.Image)
	}
	if _, err := os.Stat(filepath.Join(m.dir, "default", "host-1", "root")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the disk was not wiped: %v", err)
	}
	if err := m.Delete(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	eventually(t, "host is gone, and its Secret can go", time.Minute, func(ctx context.Context) error {
		if _, err := m.host(ctx, "host-1"); !apierrors.IsNotFound(err) {
			return fmt.Errorf("the host is there, or cannot be read: %w", errors.Join(err, errors.New("want not found")))
		}
		secret := &corev1.Secret{}
		err := m.Get(ctx, client.ObjectKey{Namespace: "default", Name: "host-1-bmc"}, secret)
		if len(secret.Finalizers) > 0 {
			return fmt.Errorf("the Secret has finalizers %v", secret.Finalizers)
		}
		return client.IgnoreNotFound(err)
	})
}

func TestFaults(t *testing.T) {
	m := newManager(t)
	m.start(t, func(*iron.Config) {})
	fault := func(value string) func(*bmov1.BareMetalHost) {
		return func(h *bmov1.BareMetalHost) { h.Annotations[faults.Annotation] = value }
	}
	for i, name := range []string{"wrong", "flaky", "dead", "deaf", "refused"} {
		host := newHost(name, fmt.Sprintf("02:00:00:00:20:0%d", i))
		m.create(t, bmcSecret(name))
		m.payload(t, name, host.Spec.BootMACAddress)
		withPayload(host)
		switch name {
		case "wrong":
			fault("wrong-mac")(host)
		case "flaky":
			// More often than the test needs: a fast host would have failed twice and be provisioned before anybody looks.
			fault("fail-provision=1000")(host)
		case "deaf":
			fault("bmc-unreachable")(host)
		case "refused":
			host.Spec.Image.Checksum = ""
		}
		m.create(t, host)
	}

	m.await(t, "wrong", "is provisioned", inState(bmov1.StateProvisioned))
	m.awaitConsole(t, "wrong", "unable to find a system nic for mac_address 02:00:00:00:20:00")
	m.awaitConsole(t, "wrong", "this host will not become a node")

	m.change(t, "wrong", func(h *bmov1.BareMetalHost) { delete(h.Annotations, faults.Annotation) })
	m.awaitConsole(t, "wrong", "cloud-init: finished")

	m.await(t, "flaky", "fails twice", func(h *bmov1.BareMetalHost) bool {
		again := !h.Status.OperationHistory.Deprovision.End.IsZero()
		return again && h.Status.ErrorType == bmov1.ProvisioningError && strings.HasPrefix(h.Status.ErrorMessage, "Image provisioning failed:")
	})
	m.change(t, "flaky", fault("fail-provision=2"))
	m.await(t, "flaky", "works at last", func(h *bmov1.BareMetalHost) bool {
		return h.Status.Provisioning.State == bmov1.StateProvisioned && h.Status.ErrorType == "" && h.Status.ErrorCount == 0
	})

	m.await(t, "deaf", "does not register", func(h *bmov1.BareMetalHost) bool {
		return h.Status.Provisioning.State == bmov1.StateRegistering && h.Status.ErrorType == bmov1.RegistrationError && h.Status.ErrorCount > 1
	})
	m.change(t, "deaf", func(h *bmov1.BareMetalHost) { delete(h.Annotations, faults.Annotation) })
	m.await(t, "deaf", "is healed", inState(bmov1.StateProvisioned))

	m.await(t, "refused", "has an invalid image", func(h *bmov1.BareMetalHost) bool {
		return h.Status.ErrorMessage == "Validation failed: checksum is required for normal images"
	})

	m.await(t, "dead", "is on", func(h *bmov1.BareMetalHost) bool { return h.Status.PoweredOn })
	m.change(t, "dead", fault("disappear"))
	m.await(t, "dead", "is off and cannot be switched on", func(h *bmov1.BareMetalHost) bool {
		return !h.Status.PoweredOn && h.Status.ErrorType == bmov1.PowerManagementError && strings.HasPrefix(h.Status.ErrorMessage, "PowerOn operation failed:")
	})
	m.awaitConsole(t, "dead", "power off")
	m.change(t, "dead", func(h *bmov1.BareMetalHost) { delete(h.Annotations, faults.Annotation) })
	m.await(t, "dead", "lives again", func(h *bmov1.BareMetalHost) bool { return h.Status.PoweredOn && h.Status.ErrorType == "" })
}

// TestMove moves a provisioned host to another management cluster, as clusterctl does, while its machine runs.
func TestMove(t *testing.T) {
	from, to := newManager(t), newManager(t)
	rack := iron.NewRack(iron.Config{StateDir: from.dir, KubernetesVersion: version})
	t.Cleanup(rack.Close)
	share := func(c *iron.Config) { c.Rack = rack }
	from.start(t, share)
	to.start(t, share)
	const mac = "02:00:00:00:30:01"
	from.create(t, bmcSecret("host-1"))
	from.payload(t, "host-1", mac)
	host := newHost("host-1", mac)
	withPayload(host)
	from.create(t, host)
	from.await(t, "host-1", "is provisioned and on", func(h *bmov1.BareMetalHost) bool { return h.Status.PoweredOn && inState(bmov1.StateProvisioned)(h) })
	from.awaitConsole(t, "host-1", "cloud-init: finished")
	var moved *bmov1.BareMetalHost
	from.change(t, "host-1", func(h *bmov1.BareMetalHost) {
		status, err := json.Marshal(h.Status)
		if err != nil {
			t.Fatal(err)
		}
		h.Annotations[bmov1.PausedAnnotation] = "test"
		moved = h.DeepCopy()
		moved.Annotations = map[string]string{bmov1.StatusAnnotation: string(status)}
	})
	to.create(t, bmcSecret("host-1"))
	to.payload(t, "host-1", mac)
	moved.ObjectMeta = metav1.ObjectMeta{Namespace: "default", Name: "host-1", Annotations: moved.Annotations}
	moved.Status = bmov1.BareMetalHostStatus{}
	to.create(t, moved)
	host = to.await(t, "host-1", "is provisioned in the other cluster", func(h *bmov1.BareMetalHost) bool {
		_, annotated := h.Annotations[bmov1.StatusAnnotation]
		return inState(bmov1.StateProvisioned)(h) && h.Status.PoweredOn && !annotated && h.Status.GoodCredentials.Version != ""
	})
	if host.Status.HardwareDetails == nil || host.Status.Provisioning.Image != *image() {
		t.Errorf("status %+v", host.Status)
	}
	if console := from.console(t, "host-1"); strings.Count(console, "booting image") != 1 {
		t.Errorf("the machine was booted again:\n%s", console)
	}
}

func TestInstantHosts(t *testing.T) {
	m := newManager(t)
	powered := make(chan string, 100)
	m.start(t, func(c *iron.Config) {
		c.Instant, c.Latencies, c.StateDir, c.Programs = true, nil, "", nil
		c.OnPower = func(_ context.Context, host client.ObjectKey, on bool) error {
			powered <- fmt.Sprint(host.Name, " ", on)
			return nil
		}
	})
	const count = 20
	for i := range count {
		host := newHost(fmt.Sprintf("host-%d", i), fmt.Sprintf("02:00:00:00:40:%02x", i))
		host.Spec.Image = image()
		m.create(t, bmcSecret(host.Name), host)
	}
	for i := range count {
		m.await(t, fmt.Sprintf("host-%d", i), "is provisioned", inState(bmov1.StateProvisioned))
	}
	started := map[string]bool{}
	for range count {
		started[<-powered] = true
	}
	if len(started) != count || !started["host-0 true"] {
		t.Errorf("hosts that were switched on: %v", started)
	}
}

func TestNewChecksItsConfiguration(t *testing.T) {
	for name, config := range map[string]iron.Config{
		"REST":              {},
		"StateDir":          {REST: &rest.Config{}, StateDir: "relative", KubernetesVersion: version},
		"KubernetesVersion": {REST: &rest.Config{}, StateDir: "/var/lib/lab"},
		"Programs":          {REST: &rest.Config{}, StateDir: "/var/lib/lab", KubernetesVersion: version},
	} {
		if _, err := iron.New(config); err == nil || !strings.Contains(err.Error(), "Config."+name) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
