// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package images

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/kubelet"
)

const felixInterval = 500 * time.Millisecond

// felix plays calico-node with the dataplane driver of VPP: it crashes until VPP's agent has brought the
// driver, and is ready while the agent takes what Felix computes.
type felix struct{}

// Run implements kubelet.Program.
func (felix) Run(ctx context.Context, c *kubelet.Container) error {
	driver := c.Env["FELIX_DATAPLANEDRIVER"]
	if driver == "" {
		// Felix' own dataplanes: the simulated host has no kernel of its own to program.
		return idle{}.Run(ctx, c)
	}
	real, err := c.Path(driver)
	if err != nil {
		return err
	}
	if _, err := os.Stat(real); err != nil {
		return fmt.Errorf("failed to connect to dataplane driver: fork/exec %s: no such file or directory", driver)
	}
	socket, err := c.Path(felixSocket)
	if err != nil {
		return err
	}
	for {
		connection, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
		if err == nil {
			_ = connection.Close()
		}
		c.SetReady(err == nil)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(felixInterval):
		}
	}
}
