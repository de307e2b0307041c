// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/charts"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/daemon"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/tools"
)

const (
	startTimeout = 5 * time.Minute
	stopTimeout  = 2 * time.Minute
)

// settings are the flags that all commands share.
type settings struct {
	dir string
	// hosts is the kind of hosts; empty for that of the lab's last start.
	hosts string
	// disk is the file that virtual hosts boot; empty to build it.
	disk string
}

// addHosts gives a command that starts the lab the flags for its hosts.
func (s *settings) addHosts(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.hosts, "hosts", "", "kind of the hosts, "+strings.Join(lab.HostKinds(), " or ")+
		" (default: that of the last start, "+lab.SimulatedHosts+" at first)")
	cmd.Flags().StringVar(&s.disk, "disk", "", "with virtual hosts: boot this qcow2 file, which must have kubeadm "+lab.KubernetesVersion+", instead of the image node")
}

func newCommand() *cobra.Command {
	s := &settings{}
	root := &cobra.Command{
		Use:           "lab",
		Short:         "Run a management cluster with simulated or virtual bare-metal hosts on this machine",
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			return s.complete()
		},
	}
	root.PersistentFlags().StringVar(&s.dir, "dir", "", "folder of the lab's state and logs (default: .lab in the repository)")
	root.AddCommand(
		toolsCommand(), imageCommand(), upCommand(s), runCommand(s), downCommand(s), statusCommand(s),
		kubeconfigCommand(s), envCommand(s), faultCommand(s), execCommand(s), quickstartCommand(s),
	)
	return root
}

func (s *settings) complete() error {
	if s.dir == "" {
		root, err := tools.Root()
		if err != nil {
			return err
		}
		s.dir = filepath.Join(root, ".lab")
	}
	dir, err := filepath.Abs(s.dir)
	if err != nil {
		return fmt.Errorf("find the lab's folder: %w", err)
	}
	s.dir = dir
	if s.disk == "" {
		return nil
	}
	if s.disk, err = filepath.Abs(s.disk); err != nil {
		return fmt.Errorf("find the disk image: %w", err)
	}
	return nil
}

// open tells how to use the lab, which must run.
func (s *settings) open() (lab.Access, error) {
	pid, err := daemon.Pid(s.dir)
	if err != nil {
		return lab.Access{}, err
	}
	if pid == 0 {
		return lab.Access{}, fmt.Errorf("no lab runs in %s: start it with `lab up`", s.dir)
	}
	access, err := lab.Open(s.dir)
	if err != nil || access.Pid != pid {
		return lab.Access{}, errors.Join(fmt.Errorf("the lab in %s is still starting: try again soon", s.dir), err)
	}
	return access, nil
}

func toolsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "tools",
		Short: "Build what the lab and the tests run, and print the environment that finds it",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			root, err := tools.Root()
			if err != nil {
				return err
			}
			box := tools.Toolbox{Root: root, Out: cmd.ErrOrStderr()}
			if _, err := box.Ensure(cmd.Context()); err != nil {
				return err
			}
			assets, err := box.Assets(cmd.Context())
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "export KUBEBUILDER_ASSETS="+assets)
			return nil
		},
	}
}

func upCommand(s *settings) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start the lab in the background; nothing happens when it runs",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.up(cmd); err != nil {
				return err
			}
			access, err := s.open()
			if err != nil {
				return err
			}
			fmt.Fprint(cmd.OutOrStdout(), access.Environment())
			return nil
		},
	}
	s.addHosts(cmd)
	return cmd
}

// up builds what is missing, in the foreground where its progress shows, and starts the lab.
func (s *settings) up(cmd *cobra.Command) error {
	hosts, err := lab.Hosts(s.dir, s.hosts)
	if err != nil {
		return err
	}
	pid, err := daemon.Pid(s.dir)
	if err != nil {
		return err
	}
	if pid != 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "the lab runs already, pid %d\n", pid)
		return nil
	}
	components, err := lab.FindRelease()
	if err != nil {
		return err
	}
	root, err := tools.Root()
	if err != nil {
		return err
	}
	box := tools.Toolbox{Root: root, Out: cmd.ErrOrStderr()}
	if _, err := box.Ensure(cmd.Context()); err != nil {
		return err
	}
	tree, err := box.Tree(cmd.Context())
	if err != nil {
		return err
	}
	disk := s.disk
	if disk == "" {
		if disk, err = lab.Prepare(cmd.Context(), box, hosts); err != nil {
			return err
		}
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "starting the lab in %s with %s hosts\n", s.dir, hosts)
	ctx, cancel := context.WithTimeout(cmd.Context(), startTimeout)
	defer cancel()
	return daemon.Spawn(ctx, s.dir, "run", "--dir", s.dir, "--hosts", hosts, "--disk", disk, "--release", components, "--manager", tree.Manager,
		"--charts-dir", os.Getenv(charts.DirVariable))
}

func downCommand(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Stop the lab; its state and logs stay",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), stopTimeout)
			defer cancel()
			if err := daemon.Stop(ctx, s.dir); err != nil {
				return err
			}
			fmt.Fprintln(cmd.ErrOrStderr(), "no lab runs in", s.dir)
			return nil
		},
	}
}
