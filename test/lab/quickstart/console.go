// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package quickstart

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab"
)

const (
	mostTrouble = 12 // lines of a console that tell of trouble
	mostRecent  = 4  // last lines of a console
	mostConsole = 1 << 20
	// powerOn begins what a console shows of one life of the machine.
	powerOn = " power: on"
)

// whatConsolesShow is an error that quotes the lines of each host's console that matter when a cluster does not come up;
// nil when there are no consoles.
func whatConsolesShow(access lab.Access) error {
	paths, err := filepath.Glob(access.ConsoleGlob())
	if err != nil || len(paths) == 0 {
		return err
	}
	var b strings.Builder
	for _, path := range paths {
		text, err := readEnd(path)
		if err != nil {
			text = err.Error()
		}
		trouble, recent := digest(text)
		fmt.Fprintf(&b, "%s:\n", path)
		for _, line := range trouble {
			fmt.Fprintf(&b, "  ! %s\n", line)
		}
		for _, line := range recent {
			fmt.Fprintf(&b, "    %s\n", line)
		}
	}
	return errors.New(strings.TrimSuffix(b.String(), "\n"))
}

// kubeadmFailure finds what kubeadm said when it gave up on a host, since the host was last switched on; "" when it has
// not. What is secret is left out. Nothing tries again by itself after that.
func kubeadmFailure(console string) string {
	if i := strings.LastIndex(console, powerOn); i >= 0 {
		console = console[i:]
	}
	for line := range strings.Lines(console) {
		if _, said, found := strings.Cut(line, "error execution phase "); found {
			return strings.TrimSpace(redact(said))
		}
	}
	return ""
}

// checkConsoles is an error when kubeadm has given up on a host.
func checkConsoles(access lab.Access) error {
	paths, err := filepath.Glob(access.ConsoleGlob())
	if err != nil {
		return err
	}
	for _, path := range paths {
		console, err := readEnd(path)
		if err != nil {
			return err
		}
		if said := kubeadmFailure(console); said != "" {
			return fmt.Errorf("kubeadm failed on host %s, in phase %s", filepath.Base(filepath.Dir(path)), said)
		}
	}
	return nil
}

// readEnd reads the end of a file.
func readEnd(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(io.NewSectionReader(file, max(0, info.Size()-mostConsole), mostConsole))
	return string(data), err
}

// redact leaves out what is secret: kubeadm prints tokens to join with.
func redact(line string) string {
	return regexp.MustCompile(`\b[a-z0-9]{6}\.[a-z0-9]{16}\b|\b[0-9a-f]{64}\b|[A-Za-z0-9+/]{43}=`).ReplaceAllString(line, "(secret)")
}

// digest finds the lines of a console that tell of trouble, and its last ones. Control characters of terminals are left
// out, and so is what is secret.
func digest(console string) (trouble, recent []string) {
	control := regexp.MustCompile(`\x1b\[[0-9;?]*[A-Za-z]|\x1b[()=>].?|[\x00-\x08\x0b-\x1f\x7f]`)
	telling := regexp.MustCompile(`(?i)error execution phase|\[ERROR |\berror:|\bfailed to (start|run|mount)\b|FAILED\]|^failed|` +
		`: failed|timed out|out of memory|kernel panic|traceback|unable to|no such file|not found`)
	var lines []string
	for line := range strings.Lines(console) {
		line = strings.TrimSpace(control.ReplaceAllString(line, ""))
		if line == "" {
			continue
		}
		line = shorten(redact(line))
		lines = append(lines, line)
		if telling.MatchString(line) {
			trouble = append(trouble, line)
		}
	}
	return trouble[max(0, len(trouble)-mostTrouble):], lines[max(0, len(lines)-mostRecent):]
}
