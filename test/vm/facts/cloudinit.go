// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// CloudInit is what cloud-init says of its work.
type CloudInit struct {
	// Status is "done" when all is well.
	Status string
	// Datasource that it has read, for example "DataSourceConfigDrive".
	Datasource string
	// Errors of its stages, and Warnings (and worse) of its log, over all boots.
	Errors   []string
	Warnings []string
	// Scripts of an instance that it has run, in order, over all boots.
	Scripts []string
}

// parseStatus reads `cloud-init status --long`.
func parseStatus(f *Facts, output string) error {
	for line := range strings.Lines(output) {
		if value, found := strings.CutPrefix(line, "status: "); found {
			f.CloudInit.Status = strings.TrimSpace(value)
			return nil
		}
	}
	return fmt.Errorf("no status in %q", output)
}

// parseResult reads result.json, which cloud-init writes at the end of a boot.
func parseResult(f *Facts, output string) error {
	var result struct {
		V1 struct {
			Datasource string   `json:"datasource"`
			Errors     []string `json:"errors"`
		} `json:"v1"`
	}
	if err := json.Unmarshal([]byte(output), &result); err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	f.CloudInit.Datasource, _, _ = strings.Cut(result.V1.Datasource, " ")
	f.CloudInit.Errors = append(f.CloudInit.Errors, result.V1.Errors...)
	return nil
}

// parseStages reads status.json, which has the errors of each stage of the last boot.
func parseStages(f *Facts, output string) error {
	var status struct {
		V1 map[string]json.RawMessage `json:"v1"`
	}
	if err := json.Unmarshal([]byte(output), &status); err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	for name, raw := range status.V1 {
		var stage struct {
			Errors []string `json:"errors"`
		}
		// Beside stages there are words.
		if json.Unmarshal(raw, &stage) != nil {
			continue
		}
		for _, text := range stage.Errors {
			f.CloudInit.Errors = append(f.CloudInit.Errors, name+": "+text)
		}
	}
	slices.Sort(f.CloudInit.Errors)
	return nil
}

// parseLog reads lines of cloud-init.log like "2026-01-02 03:04:05,678 - subp.py[DEBUG]: Running command ['/a/script'] with ...".
// Where power was lost, the log can have a hole of zeros.
func parseLog(f *Facts, output string) error {
	script := regexp.MustCompile(`Running command \['(/var/lib/cloud/[^']*scripts/[^']*)'`)
	entry := regexp.MustCompile(`^\S+ \S+ - (\S+\[(WARNING|ERROR|CRITICAL)\]: .*)`)
	for line := range strings.Lines(strings.ReplaceAll(output, "\x00", "\n")) {
		if found := entry.FindStringSubmatch(line); found != nil {
			f.CloudInit.Warnings = append(f.CloudInit.Warnings, found[1])
		}
		if found := script.FindStringSubmatch(line); found != nil {
			f.CloudInit.Scripts = append(f.CloudInit.Scripts, found[1])
		}
	}
	return nil
}
