// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Command manager runs the EdgeMetal controllers.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/spf13/pflag"
	cliflag "k8s.io/component-base/cli/flag"
	logsv1 "k8s.io/component-base/logs/api/v1"
	_ "k8s.io/component-base/logs/json/register"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "manager:", err)
		os.Exit(1)
	}
}

func run() error {
	options := newOptions()
	options.addFlags(pflag.CommandLine)
	pflag.CommandLine.SetNormalizeFunc(cliflag.WordSepNormalizeFunc)
	pflag.CommandLine.AddGoFlagSet(flag.CommandLine)
	if err := pflag.CommandLine.Set("v", "2"); err != nil {
		return err
	}
	pflag.Parse()
	if err := logsv1.ValidateAndApply(options.logs, nil); err != nil {
		return err
	}
	ctrl.SetLogger(klog.Background())
	ctx := ctrl.LoggerInto(ctrl.SetupSignalHandler(), ctrl.Log)
	return start(ctx, options)
}

func start(ctx context.Context, options *options) error {
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the management cluster: %w", err)
	}
	mgr, err := newManager(config, options)
	if err != nil {
		return err
	}
	if err := setupControllers(ctx, mgr, options); err != nil {
		return err
	}
	ctrl.Log.Info("Starting manager", "version", buildVersion())
	return mgr.Start(ctx)
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

// imageTag is the tag of images that belong to this build: dev when it is no release, as in config/manager.
func imageTag() string {
	if version == "" {
		return "dev"
	}
	return version
}
