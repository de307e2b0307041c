// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"errors"
	"fmt"
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/rootfs"
)

// podFiles are the files that a pod's containers see. All paths but those on the lab's machine are the host's.
type podFiles struct {
	disk rootfs.FS
	// dir is the pod's own directory, e.g. /var/lib/kubelet/pods/<uid>.
	dir string
	// volumes are the volumes' directories or files by name.
	volumes map[string]string
	// token is the file with the ServiceAccount's token; empty when the pod mounts none.
	token string
}

// path is where a container's path is on the lab's machine: in a volume, or in a directory that stands for
// the container's own file system.
func (f *podFiles) path(spec *corev1.Container, name string) (string, error) {
	clean := path.Clean("/" + name)
	best, target := "", path.Join(f.dir, "containers", spec.Name, clean)
	for _, mount := range spec.VolumeMounts {
		at := path.Clean("/" + mount.MountPath)
		rest, inside := strings.CutPrefix(clean, strings.TrimSuffix(at, "/"))
		if !inside || rest != "" && rest[0] != '/' || len(at) < len(best) {
			continue
		}
		source, known := f.volumes[mount.Name]
		if !known {
			return "", fmt.Errorf("volume %s is not mounted", mount.Name)
		}
		best, target = at, path.Join(source, mount.SubPath, rest)
	}
	return f.disk.Real(target)
}

func (f *podFiles) kubeconfig() (string, error) {
	if f.token == "" {
		return "", errors.New("the pod mounts no ServiceAccount token")
	}
	return f.disk.Real(path.Join(f.dir, "kubeconfig"))
}
