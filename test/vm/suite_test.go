// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package vm boots machines with what the provider composes for them, and looks inside. Everything but the machines' hardware is real:
// kernel, cloud-init, systemd, WireGuard and, in the part about a cluster, kubeadm and the kubelet.
//
// It takes long, so it runs only when the environment variable EDGEMETAL_VM says which parts: boot, hosts (of which
// boot is the beginning), faults, cluster, or all.
package vm

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

const (
	variable = "EDGEMETAL_VM"

	// bootTimeout bounds one boot, to the end of cloud-init. Under emulation on two cores, with two machines at a time, it takes two to
	// five minutes.
	bootTimeout = 15 * time.Minute
	// settleTimeout bounds what takes a moment after a boot, such as LACP or an address of DHCP.
	settleTimeout = 3 * time.Minute
	// answerTimeout bounds what the management cluster does.
	answerTimeout = 4 * time.Minute
	pollInterval  = 2 * time.Second
	// limit of one spec.
	limit = 30 * time.Minute
	// clusterLimit is that of a whole cluster: longer than the quick start's own, which says what it waited for.
	clusterLimit = 45 * time.Minute
	// setupLimit bounds building an image and starting a lab.
	setupLimit = 40 * time.Minute
	// cleanupTime is left of what `go test -timeout` gives for ending what a suite that takes too long has started.
	cleanupTime = 2 * time.Minute
)

// parts of the suite, which are labels of its specs.
var parts = []string{"boot", "hosts", "faults", "cluster"}

func TestVM(t *testing.T) {
	wanted := os.Getenv(variable)
	if wanted == "" {
		t.Skipf("boots QEMU machines, which takes many minutes: run `make test-vm`, or set %s to one of %s, several separated by commas, or all", variable, strings.Join(parts, ", "))
	}
	filter, err := labelFilter(wanted)
	if err != nil {
		t.Fatal(err)
	}
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(answerTimeout)
	SetDefaultEventuallyPollingInterval(pollInterval)
	EnforceDefaultTimeoutsWhenUsingContexts()
	suite, reporter := GinkgoConfiguration()
	suite.LabelFilter = cmp.Or(suite.LabelFilter, filter)
	if deadline, bounded := t.Deadline(); bounded {
		suite.Timeout = suiteLimit(time.Until(deadline))
	}
	RunSpecs(t, "Virtual hosts", suite, reporter)
}

// suiteLimit is for Ginkgo, which stops a suite after an hour unless told otherwise, when `go test` gives it so long.
func suiteLimit(given time.Duration) time.Duration { return max(given-cleanupTime, given/2) }

func TestSuiteLimit(t *testing.T) {
	for given, limit := range map[time.Duration]time.Duration{2 * time.Hour: 118 * time.Minute, 3 * time.Minute: 90 * time.Second} {
		if got := suiteLimit(given); got != limit {
			t.Errorf("given %s: %s instead of %s", given, got, limit)
		}
	}
}

// labelFilter selects parts, named as in the environment variable.
func labelFilter(wanted string) (string, error) {
	if wanted == "all" {
		return "", nil
	}
	names := strings.Split(wanted, ",")
	for _, name := range names {
		if !slices.Contains(parts, name) {
			return "", fmt.Errorf("%s: %q is none of %s and all", variable, name, strings.Join(parts, ", "))
		}
	}
	return strings.Join(names, " || "), nil
}

func TestLabelFilter(t *testing.T) {
	for wanted, filter := range map[string]string{"all": "", "hosts": "hosts", "hosts,faults": "hosts || faults"} {
		if got, err := labelFilter(wanted); err != nil || got != filter {
			t.Errorf("%s: %q, %v", wanted, got, err)
		}
	}
	if _, err := labelFilter("hosts,pods"); err == nil || !strings.Contains(err.Error(), `"pods"`) {
		t.Errorf("an unknown part: %v", err)
	}
}

// The report ends with how long each spec took.
var _ = ReportAfterSuite("times", func(report Report) {
	fmt.Fprintf(os.Stdout, "\n%8s  %s\n", report.RunTime.Round(time.Second), "the suite, of which")
	for _, spec := range report.SpecReports {
		if spec.State == 0 || spec.RunTime < time.Second {
			continue
		}
		name := cmp.Or(spec.FullText(), spec.LeafNodeType.String())
		fmt.Fprintf(os.Stdout, "%8s  %-7s %s\n", spec.RunTime.Round(time.Second), spec.State, name)
	}
})
