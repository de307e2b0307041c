// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/image/oci"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/image/run"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/tools"
)

// Container images in Node besides those that kubeadm wants.
const (
	ManagerImage = "ghcr.io/edgemetal/cluster-api-edgemetal-controller:" + tools.EdgeMetalVersion
	AgentImage   = "ghcr.io/edgemetal/edge-agent:" + tools.EdgeMetalVersion
	// ShellImage has Debian's busybox for pods of tests: sh, sleep, nslookup, wget, httpd, nc and so on.
	ShellImage = "ghcr.io/edgemetal/lab-shell:" + tools.EdgeMetalVersion
)

// FlannelImage is the name of the image with flannel's daemon, which has the backend host-gw, for a pod of each
// node in the host's network. It is not flannel's own image: see test/tools/flannel.
func FlannelImage(box tools.Toolbox) (string, error) {
	version, err := box.FlannelVersion()
	return "ghcr.io/edgemetal/lab-flannel:" + version, err
}

// programs that images are made of, by their names in the toolbox.
type programs struct {
	tools.Paths
	manager, agent, pause, flannel string
	flannelImage                   string
}

// hostPrograms builds what Node holds.
func (b builder) hostPrograms(ctx context.Context) (programs, error) {
	defer b.step("building programs")()
	names := []string{tools.Kubelet, tools.Kubeadm, tools.Kubectl, tools.Containerd, tools.ContainerdShim, tools.ContainerdCtr}
	if !b.registry {
		names = append(names, tools.KubeAPIServer, tools.KubeControllerManager, tools.KubeScheduler, tools.KubeProxy,
			tools.NodeEtcd, tools.NodeEtcdctl, tools.CoreDNS, tools.KubeVIP)
	}
	paths, err := b.box.Ensure(ctx, names...)
	if err != nil {
		return programs{}, err
	}
	tree, err := b.box.Tree(ctx)
	if err != nil {
		return programs{}, err
	}
	pause, err := b.box.Pause(ctx)
	if err != nil {
		return programs{}, err
	}
	flannel, err := b.box.Flannel(ctx)
	if err != nil {
		return programs{}, err
	}
	name, err := FlannelImage(b.box)
	return programs{
		Paths: paths, manager: tree.Manager, agent: tree.EdgeAgent, pause: pause, flannel: flannel, flannelImage: name,
	}, err
}

// wanted are the names of the container images that kubeadm expects.
func (p programs) wanted(ctx context.Context, version string) ([]string, error) {
	out, err := run.Command{Args: []string{p.Paths[tools.Kubeadm], "config", "images", "list", "--kubernetes-version", version}}.Output(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask kubeadm which images it wants: %w", err)
	}
	return strings.Fields(out), nil
}

// pauseImage is the one of kubeadm's images that containerd needs to know of.
func pauseImage(wanted []string) (string, error) {
	for _, reference := range wanted {
		if base, _ := split(reference); base == "pause" {
			return reference, nil
		}
	}
	return "", fmt.Errorf("kubeadm wants no pause image, only %s", strings.Join(wanted, ", "))
}

// split returns the last part of an image's name, and its tag.
func split(reference string) (string, string) {
	base, tag, _ := strings.Cut(path.Base(reference), ":")
	return base, tag
}

// agentPath is the node agent's in its image, in PATH.
const agentPath = "/usr/bin/edge-agent"

// own are the images that no registry has.
func (p programs) own() map[string]oci.Spec {
	return map[string]oci.Spec{
		ManagerImage: {Programs: map[string]string{"/manager": p.manager}, Files: accounts(), Entrypoint: []string{"/manager"}, User: "65532:65532"},
		AgentImage:   {Programs: map[string]string{agentPath: p.agent}, Files: accounts(), Entrypoint: []string{agentPath}},
		p.flannelImage: {
			Programs: map[string]string{"/opt/bin/flanneld": p.flannel}, Files: accounts(), Entrypoint: []string{"/opt/bin/flanneld"},
		},
		ShellImage: {System: []string{"/bin/busybox"}, Links: applets(), Files: accounts(), Entrypoint: []string{"/bin/sh"}},
	}
}

// genuine are stand-ins for images of other projects, with the same programs at the same paths.
func (p programs) genuine(wanted []string) (map[string]oci.Spec, error) {
	specs := map[string]oci.Spec{
		bootstrap.DefaultKubeVIPImage: {
			Programs: map[string]string{"/kube-vip": p.Paths[tools.KubeVIP]}, Files: accounts(), Entrypoint: []string{"/kube-vip"},
		},
	}
	local := func(name string) string { return "/usr/local/bin/" + name }
	for _, reference := range wanted {
		base, _ := split(reference)
		spec := oci.Spec{Files: accounts()}
		switch base {
		case tools.KubeAPIServer, tools.KubeControllerManager, tools.KubeScheduler:
			spec.Programs = map[string]string{local(base): p.Paths[base]}
		case tools.KubeProxy:
			spec.Programs = map[string]string{local(base): p.Paths[base]}
			spec.System = []string{"/usr/sbin/nft"}
		case "etcd":
			spec.Programs = map[string]string{local("etcd"): p.Paths[tools.NodeEtcd], local("etcdctl"): p.Paths[tools.NodeEtcdctl]}
		case tools.CoreDNS:
			spec.Programs = map[string]string{"/coredns": p.Paths[tools.CoreDNS]}
			spec.Entrypoint = []string{"/coredns"}
		case "pause":
			spec.Programs = map[string]string{"/pause": p.pause}
			spec.Entrypoint = []string{"/pause"}
		default:
			return nil, fmt.Errorf("kubeadm wants %s, which the image builder does not know", reference)
		}
		specs[reference] = spec
	}
	return specs, nil
}

// pinned checks that the images hold what their tags say.
func pinned(wanted []string, box tools.Toolbox) error {
	for base, tool := range map[string]string{
		"etcd": tools.NodeEtcd, tools.CoreDNS: tools.CoreDNS, tools.KubeAPIServer: tools.KubeAPIServer, tools.KubeProxy: tools.KubeProxy,
	} {
		version, err := box.Version(tool)
		if err != nil {
			return err
		}
		for _, reference := range wanted {
			name, tag := split(reference)
			// A tag of etcd's image has no "v", and ends with the image's own revision.
			tag, _, _ = strings.Cut(strings.TrimPrefix(tag, "v"), "-")
			if name == base && "v"+tag != version {
				return fmt.Errorf("kubeadm wants %s, and test/tools pins %s: require v%s there", reference, version, tag)
			}
		}
	}
	return nil
}

// accounts are the users and the name services that programs look for.
func accounts() map[string]string {
	return map[string]string{
		"/etc/passwd":        "root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n",
		"/etc/group":         "root:x:0:\nnobody:x:65534:\nnonroot:x:65532:\n",
		"/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
	}
}

// applets of busybox that pods use.
func applets() map[string]string {
	links := map[string]string{}
	for name := range strings.FieldsSeq("sh ash cat cp cut date dd df echo env false find grep head hostname httpd id ip kill ln ls mkdir mv nc " +
		"netstat nslookup ping printf ps pwd rm sed seq sleep sort stat tail tar tee test timeout touch tr traceroute true uname uptime vi wc wget which xargs yes") {
		links["/bin/"+name] = "busybox"
	}
	return links
}

// containers assembles or pulls all images of Node, by name. The layers' files are below work.
func (b builder) containers(ctx context.Context, p programs, wanted []string, tree, work string) (map[string]v1.Image, error) {
	defer b.step("assembling container images")()
	specs, images := p.own(), map[string]v1.Image{}
	if b.registry {
		for _, reference := range append(slices.Clone(wanted), bootstrap.DefaultKubeVIPImage) {
			image, err := oci.Pull(ctx, reference)
			if err != nil {
				return nil, err
			}
			images[reference] = image
		}
	} else {
		genuine, err := p.genuine(wanted)
		if err != nil {
			return nil, err
		}
		maps.Copy(specs, genuine)
	}
	for reference, spec := range specs {
		image, err := spec.Build(tree, work)
		if err != nil {
			return nil, fmt.Errorf("assemble %s: %w", reference, err)
		}
		images[reference] = image
	}
	return images, nil
}
