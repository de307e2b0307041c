// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package bmo

import (
	"fmt"
	"math"
	"time"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/faults"
)

// Latencies are how long a healthy host's operations take.
type Latencies struct {
	Register    time.Duration
	Inspect     time.Duration
	Prepare     time.Duration
	Provision   time.Duration
	Deprovision time.Duration
	// Clean is added to Deprovision when the host's automated cleaning is not disabled.
	Clean time.Duration
	Power time.Duration
	// Retry is how long the first retry after an error waits; each further one waits twice as long, to a minute.
	Retry time.Duration
}

// View is what a step sees.
type View struct {
	// Host is changed by the step: its status, annotations and finalizers.
	Host *bmov1.BareMetalHost
	Now  time.Time
	// Elapsed is the time since the current operation began.
	Elapsed   time.Duration
	Latencies Latencies
	Faults    faults.Set
	// FailedProvisions counts the attempts that failed because of the fault fail-provision.
	FailedProvisions int
	// PoweredOn is the machine's power.
	PoweredOn bool
	// Rewired tells that the machine was switched on with other NICs than it has now: the fault wrong-mac came
	// or went.
	Rewired bool
	// Attached is how long the host is back in the operator's hands after it was detached; nil when it never was.
	Attached *time.Duration
	// Deployed tells that the image of the current operation is on the disk already: writing that down failed.
	Deployed bool
	// Credentials is the BMC's Secret, or nil if it cannot be used; CredentialsProblem says why.
	Credentials        *corev1.Secret
	CredentialsProblem string
	// Hardware is what inspection would find; InspectionProblem says why it would fail.
	Hardware          *bmov1.HardwareDetails
	InspectionProblem string
	// DriveError tells that the config drive cannot be made, e.g. because a Secret is missing.
	DriveError error
}

// Action is something to do to the machine or to objects beside the host.
type Action string

// Actions that a step can ask for, done in order before the status is written.
const (
	// Deploy writes image and config drive to the disk.
	Deploy Action = "deploy"
	// Wipe cleans the disk.
	Wipe Action = "wipe"
	// PowerOn and PowerOff switch the machine; Shutdown has its operating system do it.
	PowerOn  Action = "power on"
	PowerOff Action = "power off"
	Shutdown Action = "shut down"
	// PublishHardware writes HardwareData.
	PublishHardware Action = "publish hardware"
	// CountFailure notes that an attempt to provision failed because of a fault.
	CountFailure Action = "count failure"
	// Attach notes that a detached host is back in the operator's hands.
	Attach Action = "attach"
	// Forget takes the machine out of the rack and releases the BMC's Secret.
	Forget Action = "forget"
)

// Event is something to tell the user.
type Event struct {
	Reason  string
	Message string
}

// Outcome is what a step decided beside changing the host.
type Outcome struct {
	Actions []Action
	Events  []Event
	// After is when to look again; zero leaves it to changes.
	After time.Duration
	// Err is a failure that is not the host's: nothing changes, the step is tried again.
	Err error
}

// soon is when a step that has more to do is taken again.
const soon = time.Millisecond

// steady is how often a host in a steady state is looked at, as in the real operator.
const steady = time.Minute

// secretRetry is how often a BMC Secret that is missing is looked for, as in the real operator.
const secretRetry = 10 * time.Second

// moved is how long an object that clusterctl move takes away may take to go: first its annotations go, then it is deleted,
// then its finalizers go. Meanwhile nothing may be done to the host, which is managed from somewhere else by now.
const moved = 30 * time.Second

func (o *Outcome) do(actions ...Action) { o.Actions = append(o.Actions, actions...) }

func (o *Outcome) tell(reason, message string) {
	o.Events = append(o.Events, Event{Reason: reason, Message: message})
}

// pending is how long an operation of that length still takes; zero when it is done.
func (v *View) pending(latency time.Duration) time.Duration {
	return max(0, latency+v.Faults.Slow-v.Elapsed)
}

// wait makes the outcome come back when the rest of an operation has passed.
func (v *View) wait(rest time.Duration) Outcome { return Outcome{After: max(rest, soon)} }

// fail notes an error in the status, in the operator's way, and comes back later and later.
func (v *View) fail(kind bmov1.ErrorType, message string) Outcome {
	reasons := map[bmov1.ErrorType]string{
		bmov1.RegistrationError: "RegistrationError", bmov1.InspectionError: "InspectionError",
		bmov1.ProvisioningError: "ProvisioningError", bmov1.PowerManagementError: "PowerManagementError",
	}
	status := &v.Host.Status
	status.OperationalStatus, status.ErrorType, status.ErrorMessage = bmov1.OperationalStatusError, kind, message
	status.ErrorCount++
	factor := math.Exp2(float64(min(status.ErrorCount, 10) - 1))
	out := Outcome{After: max(min(time.Duration(factor*float64(v.Latencies.Retry)), time.Minute), soon)}
	out.tell(reasons[kind], message)
	return out
}

// HostError is an error that is the host's and is shown in its status; any other one is tried again in silence.
type HostError struct {
	Err error
}

func (e *HostError) Error() string { return e.Err.Error() }

// Unwrap gives the error behind it.
func (e *HostError) Unwrap() error { return e.Err }

// failAction notes that an action failed for a reason of the host's own.
func (v *View) failAction(action Action, failure *HostError) Outcome {
	var out Outcome
	switch v.Host.Status.Provisioning.State {
	case bmov1.StateProvisioning, bmov1.StateDeprovisioning:
		out = v.fail(bmov1.ProvisioningError, "Image provisioning failed: "+failure.Error())
	default:
		out = v.fail(bmov1.PowerManagementError, fmt.Sprintf("Failed to %s node %s. Error: %s", action, v.nodeID(), failure))
	}
	computeConditions(v)
	return out
}

// heal removes an error from the status.
func (v *View) heal() {
	status := &v.Host.Status
	status.OperationalStatus, status.ErrorType, status.ErrorMessage = bmov1.OperationalStatusOK, "", ""
}
