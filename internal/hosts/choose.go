// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"fmt"
	"slices"
	"strings"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

// Request says what a machine wants of a host.
type Request struct {
	// Labels that the host must carry.
	Labels labels.Selector
	// Hardware that the host must have.
	Hardware infrav1.HardwareRequirements
	// RunsOn tells whether the dataplane of the cluster has images for a CPU architecture, as inspection names it; nil when nothing is
	// wanted of it. A host whose architecture is not known yet is not refused.
	RunsOn func(architecture string) bool
	// FailureDomain in which the host must stand; any when empty.
	FailureDomain string
	// InFailureDomain counts the machines of the same kind that each failure domain has already. A host in the emptiest
	// domain is preferred.
	InFailureDomain map[string]int
}

// HardwareOf gives the inspection results of a host, nil when there are none.
type HardwareOf func(host *bmov1.BareMetalHost) *bmov1.HardwareDetails

// Selector turns the labels and expressions of a host selector into a labels.Selector.
// The error names the field.
func Selector(s infrav1.HostSelector) (labels.Selector, error) {
	selector, err := metav1.LabelSelectorAsSelector(&metav1.LabelSelector{MatchLabels: s.MatchLabels, MatchExpressions: s.MatchExpressions})
	if err != nil {
		return nil, fmt.Errorf("hostSelector: %w", err)
	}
	return selector, nil
}

// Choice is the outcome of looking at all hosts of a namespace.
type Choice struct {
	// Hosts that fit best, all equally good; empty when none fits.
	Hosts []*bmov1.BareMetalHost
	// Seen is the number of hosts that were looked at.
	Seen int
	// Obstacles counts the hosts that do not fit, by their first obstacle.
	Obstacles map[Obstacle]int
}

// Choose looks at every host and keeps the best ones.
func Choose(request Request, all []*bmov1.BareMetalHost, hardwareOf HardwareOf) Choice {
	choice := Choice{Seen: len(all), Obstacles: map[Obstacle]int{}}
	fewest := -1
	for _, host := range all {
		if obstacle := request.obstacle(host, hardwareOf); obstacle != "" {
			choice.Obstacles[obstacle]++
			continue
		}
		n := request.InFailureDomain[host.Labels[infrav1.FailureDomainLabel]]
		if fewest < 0 || n < fewest {
			fewest, choice.Hosts = n, choice.Hosts[:0]
		}
		if n == fewest {
			choice.Hosts = append(choice.Hosts, host)
		}
	}
	return choice
}

// Matches tells whether a host is what the request wants, whether or not it is free.
func (r Request) Matches(host *bmov1.BareMetalHost, hardwareOf HardwareOf) bool {
	return r.mismatch(host, hardwareOf) == ""
}

func (r Request) obstacle(host *bmov1.BareMetalHost, hardwareOf HardwareOf) Obstacle {
	unavailable := Unavailable(host)
	if unavailable == ObstacleDeleting || unavailable == ObstacleInUse {
		return unavailable
	}
	if mismatch := r.mismatch(host, hardwareOf); mismatch == ObstacleLabels || mismatch == ObstacleFailureDomain || unavailable == "" {
		return mismatch
	}
	return unavailable
}

func (r Request) mismatch(host *bmov1.BareMetalHost, hardwareOf HardwareOf) Obstacle {
	switch {
	case !r.Labels.Matches(labels.Set(host.Labels)):
		return ObstacleLabels
	case r.FailureDomain != "" && host.Labels[infrav1.FailureDomainLabel] != r.FailureDomain:
		return ObstacleFailureDomain
	case r.RunsOn != nil && !r.runsOn(host, hardwareOf):
		return ObstacleArchitecture
	case r.Hardware == (infrav1.HardwareRequirements{}):
		return ""
	}
	found := hardwareOf(host)
	switch {
	case found == nil:
		return ObstacleNoHardware
	case !Fits(r.Hardware, host, found):
		return ObstacleHardware
	default:
		return ""
	}
}

// runsOn looks at the host itself first, on which baremetal-operator notes what inspection has found: for each claim of each machine all
// free hosts are looked at.
func (r Request) runsOn(host *bmov1.BareMetalHost, hardwareOf HardwareOf) bool {
	architecture := host.Spec.Architecture
	if architecture == "" {
		if found := hardwareOf(host); found != nil {
			architecture = found.CPU.Arch
		}
	}
	return architecture == "" || r.RunsOn(architecture)
}

// String counts the obstacles for a person: "no host matches: 5 seen, 3 in use, 2 in error".
func (c Choice) String() string {
	if c.Seen == 0 {
		return "there is no BareMetalHost in the namespace; add one to the inventory"
	}
	parts := []string{fmt.Sprintf("%d seen", c.Seen)}
	for _, obstacle := range obstaclesInOrder() {
		if n := c.Obstacles[obstacle]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, obstacle))
		}
	}
	return "no host matches: " + strings.Join(parts, ", ")
}

func obstaclesInOrder() []Obstacle {
	return slices.Clip([]Obstacle{
		ObstacleInUse, ObstacleDeleting, ObstacleLabels, ObstacleFailureDomain, ObstaclePaused, ObstacleDetached, ObstacleUnhealthy,
		ObstacleMaintenance, ObstacleError, ObstacleByHand, ObstacleNotAvailable, ObstacleArchitecture,
		ObstacleNoHardware, ObstacleHardware,
	})
}
