// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package bootstrap composes what a host boots with: user data, network data and metadata, for the config drive that
// baremetal-operator makes. It is pure: the same input gives the same documents, byte for byte.
//
// # User data
//
// The bootstrap provider's payload is neither parsed nor edited. It is one part of a MIME multi-part document, byte for byte,
// and ours are others: a boothook and a cloud-config. How they combine follows from cloud-init's source:
//
//   - Parts are merged in the order of the document, each with its own merge rule, which a header may give (_merge_part in
//     cloudinit/handlers/cloud_config.py; the documentation says otherwise). The default rule replaces whole keys. Therefore
//     the payload comes before ours, so that it merges exactly as it would alone, and ours follows with
//     X-Merge-Type: list(prepend)+dict(no_replace,recurse_list)+str(). Lists of ours go in front of the payload's, and every
//     other key that the payload has stays the payload's. A file that both write ends up as the payload wants it.
//   - Modules run bootcmd, write_files, set_hostname (stage init), then package installation, scripts/per-instance and at
//     last the scripts of runcmd and of shell-script parts (stage final; config/cloud.cfg.tmpl). Our commands are a script that
//     write_files puts into scripts/per-instance: after all files, before the payload's commands of either kind. They are
//     neither in bootcmd, which runs on every boot and before files are written, nor in runcmd, which runs after shell-script parts.
//   - A boothook runs when its part is read, on each boot, before all modules. Ours is the first part. It sets up a host from its start
//     that lost its power before the payload's commands began. It is not a bootcmd, since user data's replaces that of the image.
//   - Templates (## template: jinja) are rendered one part at a time, so that a payload which is one does not make ours one.
//
// On a second boot nothing changes: write_files and scripts/per-instance run once per instance, which metadata's uuid identifies.
// The host name is set on every boot, to the same value.
//
// A kubelet that the image starts at boot, before our drop-in is known to systemd, has no kubeadm configuration yet and does nothing;
// kubeadm starts it anew. Payloads that install Kubernetes themselves find the drop-in in place.
//
// The document is UTF-8 text, because baremetal-operator passes it on as a JSON string; gzip is used inside of it.
package bootstrap
