// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Command pause is the first process of a pod: it keeps the pod's namespaces while containers come and
// go, and reaps processes whose parents have ended. SIGINT and SIGTERM end it.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for s := range signals {
		if s != syscall.SIGCHLD {
			return
		}
		reap()
	}
}

// reap takes the exit codes of all children that have ended; one signal may stand for several.
func reap() {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if pid <= 0 || err != nil {
			return
		}
	}
}
