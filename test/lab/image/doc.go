// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package image builds the disk images that virtual hosts boot: "base", a Debian 12 with cloud-init as
// hosts under Metal3 have it, and "node", the same with what kubeadm needs to make a cluster without
// fetching anything: containerd, kubelet, kubeadm and the container images, all built from Go modules.
//
// Images are kept in .cache/images of the repository by the content of what goes into them. Building needs
// root on Debian or a derivative, for mmdebstrap; no loop devices or network interfaces are made, and what is mounted is
// mounted in a namespace of its own.
package image
