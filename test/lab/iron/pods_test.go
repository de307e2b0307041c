// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package iron_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	"sigs.k8s.io/cluster-api/util/secret"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/kubelet"
)

// reporter is a program that writes what it finds in its container, is ready for a while and then fails once.
type reporter struct{}

func (reporter) Run(ctx context.Context, c *kubelet.Container) error {
	config, err := c.RESTConfig()
	if err != nil {
		return err
	}
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	me, err := clients.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	greeting, err := c.Path("/etc/greeting/text")
	if err != nil {
		return err
	}
	text, err := os.ReadFile(greeting)
	if err != nil {
		return err
	}
	c.Logf("node %s, user %s on %v, greeting %q, from the environment %q", c.Env["NODE"], me.Status.UserInfo.Username,
		me.Status.UserInfo.Extra["authentication.kubernetes.io/node-name"], text, c.Env["GREETING"])
	shared, err := c.Path("/shared/" + c.NodeName)
	if err != nil {
		return err
	}
	if _, err := os.Stat(shared); err != nil {
		return errors.Join(errors.New("the first start fails"), os.WriteFile(shared, nil, 0o600))
	}
	c.SetReady(true)
	<-ctx.Done()
	return nil
}

// tool is a program of this machine that idles, and can be run beside that.
type tool string

func (t tool) Path() string { return string(t) }

func (t tool) CommandArgs(_ *kubelet.Container, args []string) ([]string, error) { return args, nil }

func (t tool) Run(ctx context.Context, c *kubelet.Container) error {
	c.SetReady(true)
	<-ctx.Done()
	return nil
}

func TestHostsRunPodsOfTheAPI(t *testing.T) {
	dir := t.TempDir()
	rack := newRackWith(t, dir, map[string]kubelet.Program{"lab/reporter": reporter{}, "lab/cat": tool("/bin/cat")})
	s := newSite(t)
	t.Cleanup(func() {
		if t.Failed() {
			printConsoles(t, dir)
		}
	})
	switchOn(t, rack, "host-a", subnet+"20", wrap(t, s.initPayload(t), "edgemetal://default/host-a/m0", subnet+"20", true))
	clients := s.workloadClient(t)
	config := clientConfig(t, s.certificates.GetByPurpose(secret.ClusterCA).KeyPair)
	node := &corev1.Node{}
	eventually(t, "control plane ready", 2*time.Minute, nodeReady(clients, "host-a", node))
	switchOn(t, rack, "host-b", subnet+"21", wrap(t, s.workerPayload(t), "edgemetal://default/host-b/m1", subnet+"21", false))
	eventually(t, "worker ready", time.Minute, nodeReady(clients, "host-b", node))
	p := &pods{clients: clients, config: config, dir: dir}
	t.Run("a DaemonSet", p.daemonSet)
	t.Run("exec", p.exec)
	t.Run("a rollout on delete", p.replace)
	t.Run("an unknown image", p.unknownImage)
	t.Run("a taint holds a pod back", p.taint)
	t.Run("a restart of the host", func(t *testing.T) {
		before, err := p.list(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		rack.Close()
		if err := rack.Restore(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the DaemonSet is back", 3*time.Minute, func(ctx context.Context) error {
			list, err := p.list(ctx)
			for i, pod := range list {
				was, is := before[i].Status.ContainerStatuses[0].RestartCount, pod.Status.ContainerStatuses[0].RestartCount
				if pod.UID != before[i].UID || is <= was || !isReady(pod) {
					return fmt.Errorf("pod %s is not %s, or was started %d times and now %d times", pod.Name, before[i].Name, was, is)
				}
			}
			return err
		})
	})
}

type pods struct {
	clients kubernetes.Interface
	config  *rest.Config
	dir     string
}

func (p *pods) list(ctx context.Context) ([]corev1.Pod, error) {
	list, err := p.clients.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "app=reporter"})
	if err != nil {
		return nil, err
	}
	if len(list.Items) != 2 {
		return nil, fmt.Errorf("%d pods, want 2", len(list.Items))
	}
	return list.Items, nil
}

func isReady(pod corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

func (p *pods) daemonSet(t *testing.T) {
	labels := map[string]string{"app": "reporter"}
	set := &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Name: "reporter", Namespace: "default"},
		Spec: appsv1.DaemonSetSpec{
			Selector:       &metav1.LabelSelector{MatchLabels: labels},
			UpdateStrategy: appsv1.DaemonSetUpdateStrategy{Type: appsv1.OnDeleteDaemonSetStrategyType},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					HostNetwork: true, Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
					Containers: []corev1.Container{
						{
							Name: "reporter", Image: "example.org/lab/reporter:v1",
							Env: []corev1.EnvVar{
								{Name: "NODE", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.nodeName"}}},
								{Name: "WORD", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "greeting"}, Key: "text"}}},
								{Name: "GREETING", Value: "$(WORD) $$(WORD)"},
							},
							VolumeMounts: []corev1.VolumeMount{{Name: "greeting", MountPath: "/etc/greeting"}, {Name: "shared", MountPath: "/shared"}},
						},
						{
							Name: "cat", Image: "example.org/lab/cat@sha256:0123456789012345678901234567890123456789012345678901234567890123",
							VolumeMounts: []corev1.VolumeMount{{Name: "greeting", MountPath: "/greeting"}},
						},
					},
					Volumes: []corev1.Volume{
						{Name: "greeting", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "greeting"}}}},
						{Name: "shared", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/srv/shared", Type: new(corev1.HostPathDirectoryOrCreate)}}},
					},
				},
			},
		},
	}
	if _, err := p.clients.AppsV1().DaemonSets("default").Create(t.Context(), set, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "pods wait for their ConfigMap", time.Minute, func(ctx context.Context) error {
		list, err := p.list(ctx)
		if err != nil {
			return err
		}
		for _, pod := range list {
			if len(pod.Status.ContainerStatuses) == 0 || pod.Status.ContainerStatuses[0].State.Waiting == nil ||
				!strings.Contains(pod.Status.ContainerStatuses[0].State.Waiting.Message, `configmaps "greeting" not found`) {
				return fmt.Errorf("status %+v", pod.Status.ContainerStatuses)
			}
		}
		return nil
	})
	greeting := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "greeting", Namespace: "default"}, Data: map[string]string{"text": "hello"}}
	if _, err := p.clients.CoreV1().ConfigMaps("default").Create(t.Context(), greeting, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the DaemonSet is rolled out", time.Minute, func(ctx context.Context) error {
		found, err := p.clients.AppsV1().DaemonSets("default").Get(ctx, "reporter", metav1.GetOptions{})
		if err == nil && found.Status.NumberAvailable != 2 {
			err = fmt.Errorf("status %+v", found.Status)
		}
		return err
	})
	list, err := p.list(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, pod := range list {
		status := pod.Status.ContainerStatuses[0]
		if status.RestartCount != 1 || status.LastTerminationState.Terminated == nil || !strings.Contains(status.LastTerminationState.Terminated.Message, "the first start fails") {
			t.Errorf("container status %+v", status)
		}
		log, err := p.clients.CoreV1().Pods("default").GetLogs(pod.Name, &corev1.PodLogOptions{Container: "reporter"}).DoRaw(t.Context())
		want := fmt.Sprintf("node %s, user system:serviceaccount:default:default on [%s], greeting \"hello\", from the environment \"hello $(WORD)\"", pod.Spec.NodeName, pod.Spec.NodeName)
		if err != nil || !strings.Contains(string(log), want) {
			t.Errorf("log %q, %v; want %q", log, err, want)
		}
		if _, err := os.Stat(filepath.Join(p.dir, "default", pod.Spec.NodeName, "root/srv/shared", pod.Spec.NodeName)); err != nil {
			t.Error(err)
		}
	}
}

func (p *pods) exec(t *testing.T) {
	list, err := p.list(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	run := func(command ...string) (string, error) {
		request := p.clients.CoreV1().RESTClient().Post().Resource("pods").Namespace("default").Name(list[0].Name).SubResource("exec").
			VersionedParams(&corev1.PodExecOptions{Container: "cat", Command: command, Stdout: true, Stderr: true}, scheme.ParameterCodec)
		session, err := remotecommand.NewSPDYExecutor(p.config, "POST", request.URL())
		if err != nil {
			t.Fatal(err)
		}
		var out, errOut bytes.Buffer
		err = session.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: &out, Stderr: &errOut})
		return out.String() + errOut.String(), err
	}
	if out, err := run("cat", "/greeting/text"); err != nil || out != "hello" {
		t.Errorf("cat printed %q, %v", out, err)
	}
	if out, err := run("cat", "/greeting/none"); err == nil || !strings.Contains(err.Error(), "exit code 1") {
		t.Errorf("cat of no file printed %q, %v", out, err)
	}
	if out, err := run("sh", "-c", "true"); err == nil || !strings.Contains(err.Error(), "not found in $PATH") {
		t.Errorf("a program that is not there printed %q, %v", out, err)
	}
}

func (p *pods) replace(t *testing.T) {
	list, err := p.list(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.clients.CoreV1().Pods("default").Delete(t.Context(), list[0].Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another pod is ready in its place", time.Minute, func(ctx context.Context) error {
		now, err := p.list(ctx)
		if err == nil && slices.ContainsFunc(now, func(pod corev1.Pod) bool { return pod.UID == list[0].UID || !isReady(pod) }) {
			err = fmt.Errorf("pods %s, %s", now[0].Name, now[1].Name)
		}
		return err
	})
}

func (p *pods) unknownImage(t *testing.T) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "unknown", Namespace: "default"},
		Spec: corev1.PodSpec{
			NodeName: "host-b", HostNetwork: true, Containers: []corev1.Container{{Name: "main", Image: "docker.io/library/nginx:1"}},
		},
	}
	if _, err := p.clients.CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the image cannot be pulled", time.Minute, func(ctx context.Context) error {
		found, err := p.clients.CoreV1().Pods("default").Get(ctx, "unknown", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if status := found.Status.ContainerStatuses; len(status) == 0 || status[0].State.Waiting == nil || status[0].State.Waiting.Reason != "ImagePullBackOff" {
			return fmt.Errorf("status %+v", found.Status)
		}
		return nil
	})
	if err := p.clients.CoreV1().Pods("default").Delete(t.Context(), "unknown", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the pod is gone", time.Minute, func(ctx context.Context) error {
		_, err := p.clients.CoreV1().Pods("default").Get(ctx, "unknown", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New("the pod is still there"), err)
	})
}

// taint needs the real scheduler: the worker registers with a taint, the control plane has its own.
func (p *pods) taint(t *testing.T) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "plain", Namespace: "default"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "registry.k8s.io/pause:3.10"}}},
	}
	if _, err := p.clients.CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the scheduler holds the pod back", time.Minute, func(ctx context.Context) error {
		found, err := p.clients.CoreV1().Pods("default").Get(ctx, "plain", metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, condition := range found.Status.Conditions {
			if condition.Reason == corev1.PodReasonUnschedulable && strings.Contains(condition.Message, "2 node(s) had untolerated taint(s)") {
				return nil
			}
		}
		return fmt.Errorf("conditions %+v", found.Status.Conditions)
	})
	patch := []byte(`{"spec":{"taints":null}}`)
	if _, err := p.clients.CoreV1().Nodes().Patch(t.Context(), "host-b", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it runs without the taint", time.Minute, func(ctx context.Context) error {
		found, err := p.clients.CoreV1().Pods("default").Get(ctx, "plain", metav1.GetOptions{})
		if err == nil && (!isReady(*found) || found.Spec.NodeName != "host-b" || !strings.HasPrefix(found.Status.PodIP, "192.168.")) {
			err = fmt.Errorf("on %q with status %+v", found.Spec.NodeName, found.Status)
		}
		return err
	})
}
