// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/daemon"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/faults"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/quickstart"
)

func statusCommand(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show what runs: the providers, the hosts, the machines",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			pid, err := daemon.Pid(s.dir)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if pid == 0 {
				fmt.Fprintln(out, "no lab runs in", s.dir)
				return nil
			}
			access, err := s.open()
			if err != nil {
				return err
			}
			fmt.Fprintf(out, "pid         %d\nlogs        %s\nkubeconfig  %s\nhosts       %s\nsite        %s\nconsoles    %s\n",
				pid, access.LogDir, access.Kubeconfig, access.Hosts, access.Site.Nodes(), access.ConsoleGlob())
			for _, what := range [][]string{
				{"pods", "--selector=cluster.x-k8s.io/provider"}, {"baremetalhosts"}, {"clusters,machines"},
			} {
				listing, err := access.Kubectl(cmd.Context(), append([]string{"get", "--all-namespaces"}, what...)...)
				if err != nil {
					listing = err.Error() + "\n" // before clusterctl init there are no machines
				}
				fmt.Fprint(out, "\n", listing)
			}
			return nil
		},
	}
}

func kubeconfigCommand(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "kubeconfig",
		Short: "Print the path of the management cluster's kubeconfig",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			access, err := s.open()
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), access.Kubeconfig)
			return nil
		},
	}
}

func envCommand(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "env",
		Short: "Print what a shell needs to use the lab's clusterctl and kubectl",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			access, err := s.open()
			if err != nil {
				return err
			}
			fmt.Fprint(cmd.OutOrStdout(), access.Environment())
			return nil
		},
	}
}

func faultCommand(s *settings) *cobra.Command {
	var namespace string
	cmd := &cobra.Command{
		Use:   "fault HOST [FAULT]",
		Short: "Give a host a fault, or none to heal it",
		Long: `Give a host a fault, or none to heal it. Faults, several separated by commas:
  slow=DURATION      every step takes that much longer
  fail-provision=N   provisioning fails N times
  wrong-mac          the NICs are not those that the inspection found
  disappear          the machine dies after provisioning
  bmc-unreachable    the BMC does not answer
  withhold-key       the other nodes never learn the node's WireGuard key`,
		Example: "  lab fault host-2 fail-provision=2\n  lab fault host-2",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			access, err := s.open()
			if err != nil {
				return err
			}
			change := faults.Annotation + "-" // removes it
			if len(args) == 2 {
				if _, err := faults.Parse(args[1]); err != nil {
					return err
				}
				change = faults.Annotation + "=" + args[1]
			}
			printed, err := access.Kubectl(cmd.Context(), "annotate", "baremetalhost", "--namespace", namespace, "--overwrite", args[0], change)
			fmt.Fprint(cmd.OutOrStdout(), printed)
			return err
		},
	}
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "default", "namespace of the host")
	return cmd
}

func quickstartCommand(s *settings) *cobra.Command {
	var (
		leak      bool
		dataplane string
	)
	cmd := &cobra.Command{
		Use:   "quickstart",
		Short: "Start the lab and bring up a cluster",
		Long: `Start the lab and bring up a cluster.
On simulated hosts: 1 control-plane machine and 2 workers on 5 hosts, until all have proved that they encrypt.
On virtual hosts: 1 control-plane machine and 1 worker that really boot, with flannel and without encryption; with
--dataplane the control plane alone, with Calico's objects as far as they go without Calico's images.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.up(cmd); err != nil {
				return err
			}
			access, err := s.open()
			if err != nil {
				return err
			}
			switch {
			case leak:
				return quickstart.RunWithLeak(cmd.Context(), access, cmd.OutOrStdout())
			case dataplane != "":
				return quickstart.RunWithCalico(cmd.Context(), access, dataplane, cmd.OutOrStdout())
			}
			return quickstart.Run(cmd.Context(), access, cmd.OutOrStdout())
		},
	}
	s.addHosts(cmd)
	cmd.Flags().BoolVar(&leak, "leak", false, "withhold the key of one worker from the other nodes, and show that the cluster is not ready")
	cmd.Flags().StringVar(&dataplane, "dataplane", "", "on virtual hosts: install "+strings.Join(quickstart.Dataplanes(), ", ")+" instead of flannel")
	cmd.MarkFlagsMutuallyExclusive("leak", "dataplane")
	return cmd
}
