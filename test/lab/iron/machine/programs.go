// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"fmt"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/kubeadm"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/shell"
)

// programs are those of the host that do more than work on files.
func (s *system) programs() map[string]shell.Program {
	return map[string]shell.Program{
		"kubeadm": s.kubeadm, "systemctl": s.systemctl, "modprobe": s.modprobe, "sysctl": s.sysctl,
		"hostname": s.hostnameProgram, "hostnamectl": s.hostnameProgram,
		"swapoff": nothing, "mount": nothing, "umount": nothing, "udevadm": nothing, "sync": nothing, "logger": nothing,
		"update-ca-certificates": nothing, "ldconfig": nothing, "iptables": nothing, "cloud-init": nothing,
	}
}

// nothing is a program whose effect a simulated host does not have.
func nothing(context.Context, shell.Call) uint8 { return 0 }

func (s *system) hostnameProgram(_ context.Context, call shell.Call) uint8 {
	args := call.Args[1:]
	if len(args) > 0 && (args[0] == "set-hostname" || args[0] == "hostname") {
		args = args[1:]
	}
	if len(args) == 0 || args[0][0] == '-' {
		fmt.Fprintln(call.Stdout, s.hostname)
		return 0
	}
	s.setHostname(args[0])
	return 0
}

func (s *system) kubeadm(ctx context.Context, call shell.Call) uint8 {
	return kubeadm.Run(ctx, kubeadm.Host{
		Disk: s.disk, Hostname: s.hostname, Interfaces: s.interfaces, CPUs: s.state.Hardware.CPU.Count,
		MemoryMiB: s.state.Hardware.RAMMebibytes, Version: s.config.KubernetesVersion,
		RestartKubelet: func(ctx context.Context) error {
			// kubeadm reloads systemd first, so that drop-ins count that were written before it ran.
			s.services.reload()
			s.services.stop("kubelet.service")
			return s.services.start(ctx, "kubelet.service")
		},
	}, call.Args[1:], call.Stdout)
}
