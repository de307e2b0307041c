// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/qemu"
)

func execCommand(s *settings) *cobra.Command {
	var namespace string
	cmd := &cobra.Command{
		Use:   "exec HOST -- COMMAND [ARGUMENT...]",
		Short: "Run a command in a virtual host as root, through its guest agent",
		Long: `Run a command in a virtual host as root, through QEMU's guest agent: neither network nor a password is needed. The
agent answers when the host has booted; before, see its console. The command has no input and no shell, and what it prints is
shown when it has ended.`,
		Example: "  lab exec host-1 -- cloud-init status --long\n  lab exec host-1 -- sh -c 'journalctl -u kubelet | tail'",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			access, err := s.open()
			if err != nil {
				return err
			}
			if access.Hosts != lab.VirtualHosts {
				return errors.New("only virtual hosts run commands; what a simulated host did is in " + access.ConsolePath(namespace, args[0]))
			}
			guest, err := qemu.OpenGuest(access.HostDir(), types.NamespacedName{Namespace: namespace, Name: args[0]})
			if err != nil {
				return err
			}
			result, err := guest.Exec(cmd.Context(), args[1:]...)
			if errors.Is(err, qemu.ErrNoAgent) {
				return fmt.Errorf("%w; its console is in %s", err, access.ConsolePath(namespace, args[0]))
			}
			if err != nil {
				return err
			}
			fmt.Fprint(cmd.OutOrStdout(), result.Stdout)
			fmt.Fprint(cmd.ErrOrStderr(), result.Stderr)
			if result.ExitCode != 0 {
				return fmt.Errorf("%s ended with exit code %d", args[1], result.ExitCode)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "default", "namespace of the host")
	return cmd
}
