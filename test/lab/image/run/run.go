// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package run starts the programs that build images.
package run

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
)

// kept is how many of the last lines of a program's output an error repeats.
const kept = 15

// Command is a program with its arguments.
type Command struct {
	Args []string
	Dir  string   // working directory; empty for this process's
	Env  []string // KEY=value, in addition to this process's
	In   io.Reader
}

// Do runs the program to its end. The error has the last lines that it printed.
func (c Command) Do(ctx context.Context) error {
	var output bytes.Buffer
	cmd := c.command(ctx)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return c.failed(err, output.String())
	}
	return nil
}

// Output runs the program to its end and returns what it wrote to its standard output.
func (c Command) Output(ctx context.Context) (string, error) {
	var output, messages bytes.Buffer
	cmd := c.command(ctx)
	cmd.Stdout, cmd.Stderr = &output, &messages
	if err := cmd.Run(); err != nil {
		return "", c.failed(err, messages.String())
	}
	return output.String(), nil
}

func (c Command) command(ctx context.Context) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	cmd.Dir, cmd.Stdin = c.Dir, c.In
	// Messages are told in English, whatever the user's language.
	cmd.Env = append(append(cmd.Environ(), "LC_ALL=C"), c.Env...)
	return cmd
}

func (c Command) failed(err error, output string) error {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	return fmt.Errorf("%s: %w: %s", filepath.Base(c.Args[0]), err, strings.Join(lines[max(0, len(lines)-kept):], "\n"))
}
