// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package bmo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/faults"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/hardware"
)

// Metal is the machines that BareMetalHosts stand for.
type Metal interface {
	// Deploy writes the host's image (spec.image) and a config drive to its disk. The machine is off. A *HostError
	// is the host's own.
	Deploy(ctx context.Context, host *bmov1.BareMetalHost, drive hardware.Drive) error
	// Wipe cleans the disk.
	Wipe(ctx context.Context, key types.NamespacedName) error
	// PowerOn switches the machine on, with the NICs that it really has. A *HostError is the host's own.
	PowerOn(ctx context.Context, host *bmov1.BareMetalHost, nics []hardware.NIC) error
	// PowerOff cuts the power and returns when nothing runs any more.
	PowerOff(ctx context.Context, key types.NamespacedName) error
	// Shutdown asks the operating system to switch the machine off, and cuts the power if it does not.
	Shutdown(ctx context.Context, key types.NamespacedName) error
	// PoweredOn tells the machine's power.
	PoweredOn(key types.NamespacedName) bool
	// SetFaults says what goes wrong with the machine while it runs.
	SetFaults(key types.NamespacedName, set faults.Set)
	// Remove forgets the machine.
	Remove(ctx context.Context, key types.NamespacedName) error
}

// Options of a Reconciler.
type Options struct {
	Latencies Latencies
	// Inspect is what inspection of a host finds; hardware.Inspect when nil.
	Inspect func(*bmov1.BareMetalHost) (*bmov1.HardwareDetails, error)
	// Concurrency is how many hosts are worked on at once; 10 when zero.
	Concurrency int
}

// Reconciler plays the operator's BareMetalHost controller.
type Reconciler struct {
	client  client.Client
	reader  client.Reader
	metal   Metal
	options Options

	mu       sync.Mutex
	progress map[types.NamespacedName]*progress
}

// progress is what is known of a host's current operation; it is only in memory, so an operation that the
// lab's restart interrupts begins again.
type progress struct {
	state    bmov1.ProvisioningState
	errors   int
	online   bool
	began    time.Time
	failures int
	fault    string
	// wrongMAC tells with which NICs the machine was switched on, if it was.
	wrongMAC *bool
	// deployed tells that the image was written in the current operation.
	deployed bool
	// attached is when the host came back after it was detached.
	attached time.Time
}

// New makes a Reconciler. reader reads past the cache.
func New(c client.Client, reader client.Reader, metal Metal, options Options) *Reconciler {
	if options.Inspect == nil {
		options.Inspect = hardware.Inspect
	}
	return &Reconciler{client: c, reader: reader, metal: metal, options: options, progress: map[types.NamespacedName]*progress{}}
}

// SetupWithManager watches hosts, and BMC Secrets for their hosts.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	err := ctrl.NewControllerManagedBy(mgr).
		Named("lab-baremetalhost").
		For(&bmov1.BareMetalHost{}, builder.WithPredicates(predicate.Funcs{UpdateFunc: isRelevant})).
		Owns(&corev1.Secret{}, builder.MatchEveryOwner).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: cmp.Or(r.options.Concurrency, 10),
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](100*time.Millisecond, 5*time.Second),
			SkipNameValidation:      new(true),
		}).
		Complete(r)
	if err != nil {
		return fmt.Errorf("setting up the BareMetalHost controller: %w", err)
	}
	return nil
}

// isRelevant leaves out our own status writes.
func isRelevant(e event.UpdateEvent) bool {
	return e.ObjectNew.GetGeneration() != e.ObjectOld.GetGeneration() ||
		!e.ObjectNew.GetDeletionTimestamp().Equal(e.ObjectOld.GetDeletionTimestamp()) ||
		!slices.Equal(e.ObjectNew.GetFinalizers(), e.ObjectOld.GetFinalizers()) ||
		!maps.Equal(e.ObjectNew.GetAnnotations(), e.ObjectOld.GetAnnotations())
}

// Reconcile takes a host one step on.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	host := &bmov1.BareMetalHost{}
	if err := r.client.Get(ctx, request.NamespacedName, host); err != nil {
		if apierrors.IsNotFound(err) {
			r.forget(request.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if _, paused := host.Annotations[bmov1.PausedAnnotation]; paused {
		return ctrl.Result{}, nil
	}
	result, err := r.reconcile(ctx, host)
	if apierrors.IsConflict(err) {
		// The cache is behind: the newer object is on its way.
		return ctrl.Result{RequeueAfter: 50 * time.Millisecond}, nil
	}
	return result, err
}

func (r *Reconciler) reconcile(ctx context.Context, host *bmov1.BareMetalHost) (ctrl.Result, error) {
	changed, err := r.prepare(ctx, host)
	if err != nil {
		return ctrl.Result{}, err
	}
	if changed {
		return ctrl.Result{RequeueAfter: soon}, nil
	}
	before := host.DeepCopy()
	view, drive, err := r.look(ctx, host)
	if err != nil {
		return ctrl.Result{}, err
	}
	out := Step(view)
	if out.Err != nil {
		return ctrl.Result{}, out.Err
	}
	for _, action := range out.Actions {
		err := r.do(ctx, view, drive, action)
		if failure, ok := errors.AsType[*HostError](err); ok {
			before.DeepCopyInto(host)
			out = view.failAction(action, failure)
			break
		}
		if err != nil {
			return ctrl.Result{}, fmt.Errorf("%s: %w", action, err)
		}
	}
	if err := r.save(ctx, before, host); err != nil {
		return ctrl.Result{}, err
	}
	if host.Status.Provisioning.State != before.Status.Provisioning.State {
		ctrl.LoggerFrom(ctx).Info("Host changed state", "from", before.Status.Provisioning.State, "to", host.Status.Provisioning.State)
	}
	for _, told := range out.Events {
		// Events are a help, not a promise: losing one must not stop the host.
		object := host.NewEvent(told.Reason, told.Message)
		if err := r.client.Create(ctx, &object); err != nil {
			ctrl.LoggerFrom(ctx).V(1).Info("Event not recorded", "reason", told.Reason, "error", err.Error())
		}
	}
	return ctrl.Result{RequeueAfter: out.After}, nil
}

// look gathers what the step needs.
func (r *Reconciler) look(ctx context.Context, host *bmov1.BareMetalHost) (*View, hardware.Drive, error) {
	key := client.ObjectKeyFromObject(host)
	set, err := faults.Parse(host.Annotations[faults.Annotation])
	if err != nil {
		// A typing error in the annotation must not stop the host: it is told, and counts as no fault.
		ctrl.LoggerFrom(ctx).Info("Ignoring the fault annotation", "reason", err.Error())
	}
	r.metal.SetFaults(key, set)
	current := r.track(key, host)
	now := time.Now()
	view := &View{
		Host: host, Now: now, Elapsed: now.Sub(current.began), Latencies: r.options.Latencies, Faults: set,
		FailedProvisions: current.failures, PoweredOn: r.metal.PoweredOn(key), Deployed: current.deployed,
		Rewired: current.wrongMAC != nil && *current.wrongMAC != set.WrongMAC,
	}
	if !current.attached.IsZero() {
		view.Attached = new(now.Sub(current.attached))
	}
	if err := r.readCredentials(ctx, view); err != nil {
		return nil, hardware.Drive{}, err
	}
	details, err := r.options.Inspect(host)
	if err != nil {
		view.InspectionProblem = "Inspection failed: " + err.Error()
	}
	view.Hardware = details
	var drive hardware.Drive
	if host.Status.Provisioning.State == bmov1.StateProvisioning && host.Spec.Image != nil {
		drive, view.DriveError = r.configDrive(ctx, host)
	}
	return view, drive, nil
}

// readCredentials finds the BMC's Secret, unless the host has no use for it yet.
func (r *Reconciler) readCredentials(ctx context.Context, view *View) error {
	host := view.Host
	switch host.Status.Provisioning.State {
	case bmov1.StateNone, bmov1.StateUnmanaged:
		return nil
	}
	if host.Spec.BMC.CredentialsName == "" {
		view.CredentialsProblem = "No BMC CredentialsName defined The BMC secret reference is empty"
		return nil
	}
	secret, err := r.secret(ctx, host.CredentialsKey())
	if apierrors.IsNotFound(err) {
		view.CredentialsProblem = fmt.Sprintf("BMC CredentialsName secret doesn't exist The BMC secret %s does not exist", host.CredentialsKey())
		return nil
	}
	if err != nil {
		return err
	}
	if host.DeletionTimestamp.IsZero() {
		if err := r.claimSecret(ctx, secret, host); err != nil {
			return err
		}
	}
	switch {
	case host.Spec.BMC.Address == "":
		view.CredentialsProblem = "BMC address missing from host specification Missing BMC connection detail 'Address'"
	case strings.TrimSpace(string(secret.Data["username"])) == "":
		view.CredentialsProblem = "Validation error with BMC credentials: Missing BMC connection detail 'username' in credentials"
	case strings.TrimSpace(string(secret.Data["password"])) == "":
		view.CredentialsProblem = "Validation error with BMC credentials: Missing BMC connection details 'password' in credentials"
	default:
		view.Credentials = secret
	}
	return nil
}

// track notes when the current operation of a host began.
func (r *Reconciler) track(key types.NamespacedName, host *bmov1.BareMetalHost) progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.progress[key]
	if known == nil {
		known = &progress{}
		r.progress[key] = known
	}
	state, count, fault := host.Status.Provisioning.State, host.Status.ErrorCount, host.Annotations[faults.Annotation]
	if known.began.IsZero() || known.state != state || known.errors != count || known.online != host.Spec.Online {
		known.state, known.errors, known.online, known.began = state, count, host.Spec.Online, time.Now()
		known.deployed = false
	}
	if known.fault != fault {
		known.fault, known.failures = fault, 0
	}
	return *known
}

func (r *Reconciler) forget(key types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.progress, key)
}

// do carries out one action.
func (r *Reconciler) do(ctx context.Context, view *View, drive hardware.Drive, action Action) error {
	host := view.Host
	key := client.ObjectKeyFromObject(host)
	switch action {
	case Deploy:
		if err := r.metal.Deploy(ctx, host, drive); err != nil {
			return err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.progress[key].deployed = true
		return nil
	case Wipe:
		return r.metal.Wipe(ctx, key)
	case PowerOn:
		details := host.Status.HardwareDetails
		if details == nil {
			details = view.Hardware
		}
		if err := r.metal.PowerOn(ctx, host, hardware.NICs(details, view.Faults.WrongMAC)); err != nil {
			return err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.progress[key].wrongMAC = new(view.Faults.WrongMAC)
		return nil
	case PowerOff:
		return r.metal.PowerOff(ctx, key)
	case Shutdown:
		return r.metal.Shutdown(ctx, key)
	case PublishHardware:
		return r.publishHardware(ctx, host)
	case CountFailure:
		r.mu.Lock()
		defer r.mu.Unlock()
		r.progress[key].failures++
		return nil
	case Attach:
		r.mu.Lock()
		defer r.mu.Unlock()
		r.progress[key].attached = time.Now()
		return nil
	case Forget:
		if host.Status.OperationalStatus == bmov1.OperationalStatusDetached {
			// Nobody touches a detached machine: it goes on running.
			return r.releaseSecret(ctx, view.Host)
		}
		return errors.Join(r.metal.Remove(ctx, key), r.releaseSecret(ctx, view.Host))
	default:
		return fmt.Errorf("unknown action %q", action)
	}
}

// save writes what the step changed: the status, and the metadata if annotations or finalizers changed.
func (r *Reconciler) save(ctx context.Context, before, host *bmov1.BareMetalHost) error {
	if !equality.Semantic.DeepEqual(before.Status, host.Status) {
		written := host.DeepCopy()
		written.Annotations, written.Finalizers = before.Annotations, before.Finalizers
		written.Status.LastUpdated = new(metav1.Now())
		if err := r.client.Status().Update(ctx, written); err != nil {
			return fmt.Errorf("saving the host's status: %w", err)
		}
		host.ResourceVersion, host.Status = written.ResourceVersion, written.Status
	}
	if slices.Equal(before.Finalizers, host.Finalizers) && maps.Equal(before.Annotations, host.Annotations) {
		return nil
	}
	if err := r.client.Update(ctx, host); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("saving the host: %w", err)
	}
	return nil
}

func setOwner(secret *corev1.Secret, host *bmov1.BareMetalHost, scheme *runtime.Scheme) error {
	if err := controllerutil.SetOwnerReference(host, secret, scheme); err != nil {
		return fmt.Errorf("failed to set secret owner reference: %w", err)
	}
	controllerutil.AddFinalizer(secret, secretFinalizer)
	return nil
}

func equalMeta(a, b *corev1.Secret) bool {
	return maps.Equal(a.Labels, b.Labels) && slices.Equal(a.Finalizers, b.Finalizers) && equality.Semantic.DeepEqual(a.OwnerReferences, b.OwnerReferences)
}

// releaseSecret lets the BMC's Secret go.
func (r *Reconciler) releaseSecret(ctx context.Context, host *bmov1.BareMetalHost) error {
	if host.Spec.BMC.CredentialsName == "" {
		return nil
	}
	secret, err := r.secret(ctx, host.CredentialsKey())
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if !controllerutil.RemoveFinalizer(secret, secretFinalizer) {
		return nil
	}
	if err := r.client.Update(ctx, secret); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("failed to remove finalizer from secret %s: %w", secret.Name, err)
	}
	return nil
}
