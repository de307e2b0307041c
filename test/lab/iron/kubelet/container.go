// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"context"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/vip"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/plane"
)

const (
	restartDelay    = time.Second
	maxRestartDelay = 10 * time.Second
	probeInterval   = 250 * time.Millisecond
)

// container is one container of a pod.
type container struct {
	k    *instance
	pod  *corev1.Pod
	spec *corev1.Container
	log  string
	// files are what the container sees; static pods see the host's.
	files *podFiles

	mu     sync.Mutex
	status corev1.ContainerStatus
}

func newContainer(k *instance, pod *corev1.Pod, spec *corev1.Container, files *podFiles) *container {
	c := &container{k: k, pod: pod, spec: spec, files: files, log: filepath.Join(k.LogDir, pod.Name+"-"+spec.Name+".log")}
	c.status = corev1.ContainerStatus{
		Name: spec.Name, Image: spec.Image, ImageID: spec.Image, Started: new(false),
		State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}},
	}
	for _, old := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if old.Name == spec.Name && (old.State.Running != nil || old.RestartCount > 0) {
			// It ran before this kubelet did.
			c.status.RestartCount = old.RestartCount + 1
		}
	}
	return c
}

// run keeps the container running until the context ends.
func (c *container) run(ctx context.Context) {
	work, err := c.workload()
	if err != nil {
		c.k.Logf("kubelet: %s: %v", c.pod.Name, err)
		c.waiting("ImagePullBackOff", err.Error())
		<-ctx.Done()
		return
	}
	for delay := restartDelay; ctx.Err() == nil; delay = min(2*delay, maxRestartDelay) {
		begin := time.Now()
		err := work(ctx)
		if ctx.Err() != nil {
			return
		}
		c.k.Logf("kubelet: container %s of %s ended: %v", c.spec.Name, c.pod.Name, err)
		c.ended(err)
		c.waiting("CrashLoopBackOff", "back-off restarting failed container")
		if time.Since(begin) > time.Minute {
			delay = restartDelay
		}
		select {
		case <-time.After(delay):
		case <-ctx.Done():
		}
	}
}

// runOnce runs an init container to its end, again and again until it succeeds or the context ends.
func (c *container) runOnce(ctx context.Context) {
	for ctx.Err() == nil {
		work, err := c.workload()
		reason := "ImagePullBackOff"
		if err == nil {
			reason = "CrashLoopBackOff"
			c.running(false)
			err = work(ctx)
			c.ended(err)
		}
		if err == nil {
			c.completed()
			return
		}
		if ctx.Err() == nil {
			c.k.Logf("kubelet: init container %s of %s: %v", c.spec.Name, c.pod.Name, err)
			c.waiting(reason, err.Error())
		}
		select {
		case <-time.After(maxRestartDelay):
		case <-ctx.Done():
		}
	}
}

// workload is what stands in for the container's image.
func (c *container) workload() (func(context.Context) error, error) {
	command := slices.Concat(c.spec.Command, c.spec.Args)
	image := imageName(c.spec.Image)
	switch {
	case strings.Contains(image, "kube-vip"):
		return c.runVIP, nil
	case c.k.Images[imageKey(c.spec.Image)] != nil:
		return func(ctx context.Context) error {
			view, err := c.view(ctx)
			if err != nil {
				return err
			}
			return c.k.Images[imageKey(c.spec.Image)].Run(ctx, view)
		}, nil
	case len(command) > 0 && c.k.Programs[path.Base(command[0])] != "":
		return func(ctx context.Context) error { return c.runProgram(ctx, command) }, nil
	case image == "pause":
		return c.idle, nil
	default:
		return nil, fmt.Errorf("the simulated host has nothing that stands in for image %q", c.spec.Image)
	}
}

// imageName is the last word of an image reference, without tag and digest.
func imageName(image string) string {
	image, _, _ = strings.Cut(path.Base(image), "@")
	image, _, _ = strings.Cut(image, ":")
	return image
}

func (c *container) idle(ctx context.Context) error {
	c.running(true)
	<-ctx.Done()
	return ctx.Err()
}

func (c *container) runVIP(ctx context.Context) error {
	config, err := vip.FromEnv(c.spec.Env, c.k.Interfaces)
	if err != nil {
		return err
	}
	c.running(true)
	return vip.Run(ctx, config, c.k.nodeIP, c.k.Logf)
}

// runProgram runs a real program with the container's arguments, moved to this host's disk and address.
func (c *container) runProgram(ctx context.Context, command []string) error {
	args, err := c.localArgs(command[1:])
	if err != nil {
		return err
	}
	process, err := plane.Start(ctx, plane.Process{
		Name: c.pod.Name, Path: c.k.Programs[path.Base(command[0])], Args: args, LogFile: c.log, Grace: 3 * time.Second,
	})
	if err != nil {
		return err
	}
	defer process.Stop()
	return c.watch(ctx, process)
}

// watch asks the container's probes until its process or the context ends, or the liveness probe has failed
// too often.
func (c *container) watch(ctx context.Context, process *plane.Running) error {
	c.running(false)
	alive := newLiveness(c.spec.LivenessProbe)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-process.Done():
			return process.Err()
		case <-time.After(probeInterval):
			c.running(c.probe(ctx, c.spec.ReadinessProbe) == nil)
			if err := alive.check(func() error { return c.probe(ctx, c.spec.LivenessProbe) }); err != nil && ctx.Err() == nil {
				return fmt.Errorf("liveness probe failed: %w", err)
			}
		}
	}
}

// localArgs makes a container's arguments fit the machine that runs the lab: absolute paths lead to the
// host's disk, and since all hosts share one loopback interface, "this host" is the host's own address.
func (c *container) localArgs(args []string) ([]string, error) {
	local := make([]string, 0, len(args))
	for _, arg := range args {
		name, value, hasValue := strings.Cut(arg, "=")
		if !hasValue {
			local = append(local, arg)
			continue
		}
		if strings.HasPrefix(value, "/") {
			real, err := c.k.Disk.Real(value)
			if err != nil {
				return nil, err
			}
			local = append(local, name+"="+real)
			continue
		}
		local = append(local, name+"="+c.localAddresses(value))
	}
	if path.Base(c.spec.Command[0]) == "etcd" {
		// A lab's etcd need not survive a power failure of the machine that runs the lab.
		local = append(local, "--unsafe-no-fsync")
	}
	if path.Base(c.spec.Command[0]) == "kube-apiserver" && !slices.ContainsFunc(local, func(a string) bool { return strings.HasPrefix(a, "--bind-address=") }) {
		// The default, all addresses, would clash with the other hosts; and nothing routes to Endpoints here.
		local = append(local, "--bind-address="+c.k.nodeIP.String(), "--endpoint-reconciler-type=none")
	}
	return local, nil
}

func (c *container) localAddresses(value string) string {
	var words []string
	for word := range strings.SplitSeq(value, ",") {
		for _, loopback := range []string{"127.0.0.1", "0.0.0.0", "localhost"} {
			if word == loopback || strings.Contains(word, "//"+loopback+":") {
				word = strings.Replace(word, loopback, c.k.nodeIP.String(), 1)
			}
		}
		if !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	return strings.Join(words, ",")
}

func (c *container) waiting(reason, message string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.Ready, c.status.Started = false, new(false)
	c.status.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

func (c *container) running(ready bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.status.State.Running == nil {
		c.status.State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}
		c.status.Started = new(true)
	}
	c.status.Ready = ready
}

// ended notes that the container's program has ended, and how.
func (c *container) ended(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	terminated := &corev1.ContainerStateTerminated{Reason: "Completed", FinishedAt: metav1.Now()}
	if c.status.State.Running != nil {
		terminated.StartedAt = c.status.State.Running.StartedAt
	}
	if err != nil {
		terminated.ExitCode, terminated.Reason, terminated.Message = 1, "Error", err.Error()
	}
	c.status.RestartCount++
	c.status.LastTerminationState = corev1.ContainerState{Terminated: terminated}
}

// completed makes the last end the container's final state.
func (c *container) completed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.Ready, c.status.Started = true, new(false)
	c.status.State, c.status.LastTerminationState = c.status.LastTerminationState, corev1.ContainerState{}
	c.status.RestartCount--
}

func (c *container) current() corev1.ContainerStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	return *c.status.DeepCopy()
}
