// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
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

// path is where a container's path is on the lab's machine: in a volume, or in the directory that stands for
// the container's own file system. Paths in volumes are as short as can be, since sockets need that.
func (f *podFiles) path(spec *corev1.Container, name string) (string, error) {
	clean := path.Clean("/" + name)
	best, target := "", ""
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
	if best != "" {
		return f.disk.Real(target)
	}
	root, err := f.disk.Real(f.root(spec))
	return filepath.Join(root, clean), err
}

// root is the directory that stands for the container's own file system.
func (f *podFiles) root(spec *corev1.Container) string {
	return path.Join(f.dir, "containers", spec.Name)
}

// makeRoot makes the container's own file system, with links where volumes are mounted.
func (f *podFiles) makeRoot(spec *corev1.Container) error {
	if err := f.disk.MkdirAll(path.Join(f.root(spec), "tmp"), 0o755); err != nil {
		return err
	}
	root, err := f.disk.Real(f.root(spec))
	if err != nil {
		return err
	}
	mounts := slices.SortedFunc(slices.Values(spec.VolumeMounts), func(a, b corev1.VolumeMount) int { return strings.Compare(a.MountPath, b.MountPath) })
	for i, mount := range mounts {
		if slices.ContainsFunc(mounts[:i], func(outer corev1.VolumeMount) bool { return strings.HasPrefix(mount.MountPath, outer.MountPath+"/") }) {
			continue // a link would be made inside the outer volume
		}
		target, err := f.path(spec, mount.MountPath)
		if err != nil {
			return err
		}
		link := filepath.Join(root, mount.MountPath)
		if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
			return fmt.Errorf("mounting %s: %w", mount.MountPath, err)
		}
		if err := os.Symlink(target, link); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("mounting %s: %w", mount.MountPath, err)
		}
	}
	return nil
}

func (f *podFiles) kubeconfig() (string, error) {
	if f.token == "" {
		return "", errors.New("the pod mounts no ServiceAccount token")
	}
	return f.disk.Real(path.Join(f.dir, "kubeconfig"))
}
