// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Command edge-agent is the node agent: it completes the encryption of its node's dataplane, proves it, and reports it on the Node.
//
//	edge-agent [flags]          run
//	edge-agent status [flags]   print the verdict of the agent that runs on this host
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/pflag"
)

// memoryLimit in bytes of the heap: the agent is allowed 40 MiB in all.
const memoryLimit = 24 << 20

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := execute(ctx, os.Args[1:])
	switch {
	case errors.Is(err, pflag.ErrHelp):
	case errors.Is(err, errNotEncrypted):
		os.Exit(2) //nolint:gocritic // Nothing is deferred that matters.
	case err != nil:
		fmt.Fprintln(os.Stderr, "edge-agent:", err)
		os.Exit(1)
	}
}

func execute(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "status" {
		return printStatus(ctx, args[1:], os.Stdout)
	}
	o := &options{}
	flags := pflag.NewFlagSet("edge-agent", pflag.ContinueOnError)
	o.addFlags(flags, os.Getenv)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unknown command %q; there is only status", flags.Arg(0))
	}
	debug.SetMemoryLimit(memoryLimit)
	debug.SetGCPercent(50)
	return run(ctx, o, slog.New(slog.NewJSONHandler(os.Stderr, nil)))
}

// version is set by the linker on releases.
var version string

// buildVersion is the version of this build: the release, else what Go recorded.
func buildVersion() string {
	if info, ok := debug.ReadBuildInfo(); version == "" && ok {
		return info.Main.Version
	}
	return version
}
