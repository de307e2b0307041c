// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const (
	podsDir       = "/var/lib/kubelet/pods"
	tokenLifetime = time.Hour
)

// mount makes the pod's volumes on the host. An error says what is not there yet.
func (k *instance) mount(ctx context.Context, pod *corev1.Pod) (*podFiles, error) {
	files := &podFiles{disk: k.Disk, dir: path.Join(podsDir, string(pod.UID)), volumes: map[string]string{}}
	if err := k.Disk.MkdirAll(files.dir, 0o750); err != nil {
		return nil, err
	}
	for i := range pod.Spec.Volumes {
		volume := &pod.Spec.Volumes[i]
		at, err := k.mountVolume(ctx, pod, volume, files)
		if err != nil {
			return nil, fmt.Errorf("MountVolume.SetUp failed for volume %q: %w", volume.Name, err)
		}
		files.volumes[volume.Name] = at
	}
	for _, containers := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range containers {
			if err := files.makeRoot(&containers[i]); err != nil {
				return nil, err
			}
		}
	}
	if files.token == "" {
		return files, nil
	}
	token, err := k.Disk.Real(files.token)
	if err != nil {
		return nil, err
	}
	return files, WriteKubeconfig(k.Disk, path.Join(files.dir, "kubeconfig"), k.config.Host, k.config.CAData, &clientcmdapi.AuthInfo{TokenFile: token})
}

func (k *instance) mountVolume(ctx context.Context, pod *corev1.Pod, volume *corev1.Volume, files *podFiles) (string, error) {
	at := path.Join(files.dir, "volumes", volume.Name)
	content := map[string]volumeFile{}
	var err error
	switch source := volume.VolumeSource; {
	case source.HostPath != nil:
		return source.HostPath.Path, k.mountHostPath(source.HostPath)
	case source.EmptyDir != nil:
	case source.ConfigMap != nil:
		err = k.configMapFiles(ctx, pod.Namespace, source.ConfigMap.Name, source.ConfigMap.Items, source.ConfigMap.Optional, content)
	case source.Secret != nil:
		err = k.secretFiles(ctx, pod.Namespace, source.Secret.SecretName, source.Secret.Items, source.Secret.Optional, content)
	case source.DownwardAPI != nil:
		err = k.fieldFiles(pod, source.DownwardAPI.Items, content)
	case source.Projected != nil:
		err = k.projectedFiles(ctx, pod, source.Projected, at, files, content)
	default:
		err = fmt.Errorf("the simulated host does not know this kind of volume")
	}
	if err != nil {
		return "", err
	}
	return at, k.writeVolume(at, content)
}

// volumeFile is a file of a volume that the kubelet fills.
type volumeFile struct {
	data []byte
	mode fs.FileMode
}

func (k *instance) writeVolume(at string, content map[string]volumeFile) error {
	if err := k.Disk.MkdirAll(at, 0o755); err != nil {
		return err
	}
	for name, file := range content {
		if err := k.Disk.Write(path.Join(at, name), file.data, file.mode); err != nil {
			return err
		}
	}
	return nil
}

// mountHostPath checks or makes what a volume takes from the host.
func (k *instance) mountHostPath(source *corev1.HostPathVolumeSource) error {
	kind := corev1.HostPathUnset
	if source.Type != nil {
		kind = *source.Type
	}
	real, err := k.Disk.Real(source.Path)
	if err != nil {
		return err
	}
	info, err := os.Stat(real)
	switch kind {
	case corev1.HostPathUnset:
		if err == nil {
			return nil
		}
		// The container runtime makes it.
		return k.Disk.MkdirAll(source.Path, 0o755)
	case corev1.HostPathDirectoryOrCreate:
		return k.Disk.MkdirAll(source.Path, 0o755)
	case corev1.HostPathFileOrCreate:
		if err == nil {
			return nil
		}
		return k.Disk.Write(source.Path, nil, 0o644)
	}
	fits := map[corev1.HostPathType]fs.FileMode{
		corev1.HostPathDirectory: fs.ModeDir, corev1.HostPathFile: 0, corev1.HostPathSocket: fs.ModeSocket,
		corev1.HostPathCharDev: fs.ModeDevice | fs.ModeCharDevice, corev1.HostPathBlockDev: fs.ModeDevice,
	}
	if err != nil || info.Mode().Type() != fits[kind] {
		return fmt.Errorf("hostPath type check failed: %s is not a %s", source.Path, kind)
	}
	return nil
}

func (k *instance) configMapFiles(ctx context.Context, namespace, name string, items []corev1.KeyToPath, optional *bool, into map[string]volumeFile) error {
	object, err := k.client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return ignoreOptional(err, optional)
	}
	data := map[string][]byte{}
	for key, value := range object.Data {
		data[key] = []byte(value)
	}
	maps.Copy(data, object.BinaryData)
	return pick(data, items, optional, into)
}

func (k *instance) secretFiles(ctx context.Context, namespace, name string, items []corev1.KeyToPath, optional *bool, into map[string]volumeFile) error {
	object, err := k.client.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return ignoreOptional(err, optional)
	}
	return pick(object.Data, items, optional, into)
}

func ignoreOptional(err error, optional *bool) error {
	if apierrors.IsNotFound(err) && optional != nil && *optional {
		return nil
	}
	return err
}

// pick takes all keys, or those that the items name. What the lab writes only its owner may read, as keys may be in it.
func pick(data map[string][]byte, items []corev1.KeyToPath, optional *bool, into map[string]volumeFile) error {
	if len(items) == 0 {
		for key, value := range data {
			into[key] = volumeFile{value, 0o600}
		}
	}
	for _, item := range items {
		value, ok := data[item.Key]
		if !ok && (optional == nil || !*optional) {
			return fmt.Errorf("references non-existent key: %s", item.Key)
		}
		into[item.Path] = volumeFile{value, 0o600}
	}
	return nil
}

func (k *instance) fieldFiles(pod *corev1.Pod, items []corev1.DownwardAPIVolumeFile, into map[string]volumeFile) error {
	for _, item := range items {
		if item.FieldRef == nil {
			return fmt.Errorf("file %s: the simulated host knows fieldRef only", item.Path)
		}
		value, err := k.podField(pod, item.FieldRef.FieldPath)
		if err != nil {
			return err
		}
		into[item.Path] = volumeFile{[]byte(value), 0o644}
	}
	return nil
}

func (k *instance) projectedFiles(ctx context.Context, pod *corev1.Pod, source *corev1.ProjectedVolumeSource, at string, files *podFiles, into map[string]volumeFile) error {
	for _, part := range source.Sources {
		var err error
		switch {
		case part.ConfigMap != nil:
			err = k.configMapFiles(ctx, pod.Namespace, part.ConfigMap.Name, part.ConfigMap.Items, part.ConfigMap.Optional, into)
		case part.Secret != nil:
			err = k.secretFiles(ctx, pod.Namespace, part.Secret.Name, part.Secret.Items, part.Secret.Optional, into)
		case part.DownwardAPI != nil:
			err = k.fieldFiles(pod, part.DownwardAPI.Items, into)
		case part.ServiceAccountToken != nil:
			var token []byte
			token, err = k.requestToken(ctx, pod, part.ServiceAccountToken.Audience)
			into[part.ServiceAccountToken.Path] = volumeFile{token, 0o600}
			if part.ServiceAccountToken.Audience == "" {
				files.token = path.Join(at, part.ServiceAccountToken.Path)
			}
		default:
			err = fmt.Errorf("the simulated host does not know this kind of projection")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// requestToken asks for a token of the pod's ServiceAccount that is bound to the pod and so to this node.
func (k *instance) requestToken(ctx context.Context, pod *corev1.Pod, audience string) ([]byte, error) {
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: new(int64(tokenLifetime.Seconds())),
		BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
	}}
	if audience != "" {
		request.Spec.Audiences = []string{audience}
	}
	answer, err := k.client.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(ctx, pod.Spec.ServiceAccountName, request, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("requesting a token of ServiceAccount %s: %w", pod.Spec.ServiceAccountName, err)
	}
	return []byte(answer.Status.Token), nil
}

// renewToken keeps the pod's token fresh until the context ends.
func (k *instance) renewToken(ctx context.Context, pod *corev1.Pod, files *podFiles) {
	if files.token == "" {
		return
	}
	k.every(ctx, tokenLifetime/2, "token of "+pod.Name, func(ctx context.Context) error {
		token, err := k.requestToken(ctx, pod, "")
		if err != nil {
			return err
		}
		return k.Disk.Write(files.token, token, 0o600)
	})
}
