// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/image"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/tools"
)

func imageCommand() *cobra.Command {
	const assembled, registry = "programs", "registry"
	var from string
	cmd := &cobra.Command{
		Use:   "image [base|node]...",
		Short: "Build the disk images of virtual hosts, all of them when none is named, and print where they are",
		Long: `Build the disk images of virtual hosts, all of them when none is named, and print where they are:
  base  Debian 12 with cloud-init
  node  the same with containerd, kubeadm, kubelet and all container images of a cluster
Needs root on Debian or a derivative. Images are kept in .cache/images by the content of what goes into them.`,
		ValidArgs: image.Names(),
		Args:      cobra.OnlyValidArgs,
		RunE: func(cmd *cobra.Command, names []string) error {
			if from != assembled && from != registry {
				return fmt.Errorf("--images-from: %q is neither %s nor %s", from, assembled, registry)
			}
			root, err := tools.Root()
			if err != nil {
				return err
			}
			if len(names) == 0 {
				names = image.Names()
			}
			for _, name := range names {
				built, err := image.Build(cmd.Context(), image.Options{
					Toolbox: tools.Toolbox{Root: root, Out: cmd.ErrOrStderr()}, Name: name, Out: cmd.ErrOrStderr(), Registry: from == registry,
				})
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s  %s  sha256:%s\n", built.Name, built.Disk, built.SHA256)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&from, "images-from", assembled,
		"where the container images of Kubernetes come from: "+assembled+" built from Go modules here, or the "+registry+" that has the genuine ones")
	return cmd
}
