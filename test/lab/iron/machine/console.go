// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// console is a machine's serial console: every line gets the time.
type console struct {
	mu      sync.Mutex
	file    *os.File
	pending bytes.Buffer
}

func openConsole(name string) (*console, error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return nil, fmt.Errorf("opening the console: %w", err)
	}
	file, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the console: %w", err)
	}
	return &console{file: file}, nil
}

// Logf writes one line.
func (c *console) Logf(format string, args ...any) {
	fmt.Fprintf(c, format+"\n", args...)
}

// Write takes output of programs; whole lines go to the file.
func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending.Write(p)
	for {
		line, rest, found := bytes.Cut(c.pending.Bytes(), []byte("\n"))
		if !found {
			return len(p), nil
		}
		if _, err := fmt.Fprintf(c.file, "%s %s\n", time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), line); err != nil {
			return 0, err
		}
		remaining := bytes.Clone(rest)
		c.pending.Reset()
		c.pending.Write(remaining)
	}
}

func (c *console) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.file.Close()
}
