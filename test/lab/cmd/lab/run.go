// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/spf13/cobra"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/daemon"
)

// runCommand is what `lab up` runs in the background.
func runCommand(s *settings) *cobra.Command {
	var options lab.Options
	cmd := &cobra.Command{
		Use:    "run",
		Short:  "Run the lab in the foreground until it is interrupted",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			release, err := daemon.Hold(s.dir)
			if err != nil {
				return err
			}
			defer release()
			options.Dir, options.Hosts, options.Disk = s.dir, s.hosts, s.disk
			options.Log = zap.New(zap.WriteTo(cmd.ErrOrStderr()))
			options.Out = cmd.ErrOrStderr()
			ctrl.SetLogger(options.Log)
			l, err := lab.Start(cmd.Context(), options)
			if err != nil {
				return err
			}
			defer l.Stop()
			options.Log.Info("The lab is ready", "kubeconfig", l.Kubeconfig, "hosts", l.Hosts, "site", l.Site.Nodes().String())
			select {
			case <-cmd.Context().Done():
				return nil
			case <-l.Broken():
				return l.Err()
			}
		},
	}
	s.addHosts(cmd)
	cmd.Flags().StringVar(&options.EdgeMetal, "release", "", "components file of the edgemetal provider")
	cmd.Flags().StringVar(&options.ChartsDir, "charts-dir", "", "folder of Calico's genuine charts; stand-ins when empty")
	cmd.Flags().StringVar(&options.Manager, "manager", "", "executable of the edgemetal manager")
	return cmd
}
