// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/yaml"
)

const (
	privateKeyName = "privateKey" // in the Secret of a machine's key

	// payloadScript is what cloud-init makes of the payload's runcmd.
	payloadScript = "/var/lib/cloud/instance/scripts/runcmd"

	kubeletDefaults  = "/etc/default/kubelet"
	kubeletUnit      = "/etc/systemd/system/kubelet.service"
	kubeletProgram   = "/usr/local/bin/kubelet"
	kubeletArguments = "/run/kubelet.arguments"
	payloadMarker    = "/var/lib/payload"
	payloadRuns      = payloadMarker + "/runs"
	payloadSaw       = payloadMarker + "/saw"
)

// payloadFiles are what the payload leaves in a host.
func payloadFiles() []string {
	return []string{kubeletDefaults, kubeletUnit, kubeletProgram, payloadRuns, payloadSaw}
}

// payload is bootstrap data that stands in for kubeadm's in an image without Kubernetes: a kubelet.service as the Kubernetes packages have
// it, whose program keeps its arguments, and commands that note that they have run and what they found.
func payload(commands ...string) string {
	GinkgoHelper()
	type file struct {
		Path        string `json:"path"`
		Permissions string `json:"permissions"`
		Content     string `json:"content"`
	}
	config := struct {
		Files    []file   `json:"write_files"`
		Commands []string `json:"runcmd"`
	}{
		Files: []file{
			{kubeletDefaults, "0644", "KUBELET_EXTRA_ARGS=--v=2\n"},
			{kubeletProgram, "0755", "#!/bin/sh\nprintf '%s\\n' \"$@\" > " + kubeletArguments + "\nexec sleep infinity\n"},
			{kubeletUnit, "0644", "[Unit]\nDescription=Stand-in for the kubelet\n\n[Service]\nEnvironmentFile=-" + kubeletDefaults +
				"\nExecStart=" + kubeletProgram + " $KUBELET_EXTRA_ARGS\nRestart=always\n\n[Install]\nWantedBy=multi-user.target\n"},
		},
		Commands: append([]string{
			"mkdir -p " + payloadMarker,
			"echo run >> " + payloadRuns,
			// What is there when the payload's commands begin: ours have run by now.
			"{ ls /etc/edgemetal /etc/vpp; wg show interfaces; wg show all public-key; cat " + kubeletUnit + ".d/*.conf; } > " + payloadSaw + " 2>/dev/null || true",
			"systemctl daemon-reload && systemctl enable --now kubelet",
		}, commands...),
	}
	data, err := yaml.Marshal(config)
	Expect(err).NotTo(HaveOccurred())
	return "#cloud-config\n" + string(data)
}

func lines(text string) []string { return strings.Split(strings.TrimSpace(text), "\n") }
