// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"encoding/base64"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"
)

// part is one concern's share of a host's configuration.
type part struct {
	files []file
	// commands of a POSIX shell, run once, after the files of all parts are written and before the payload's commands.
	commands []string
}

// file is written as root.
type file struct {
	path    string
	mode    uint16
	content string
}

const (
	commandsPath = "/var/lib/cloud/scripts/per-instance/edgemetal.sh"

	commandsHeader = `#!/bin/sh
# From cluster-api-provider-edgemetal. cloud-init runs this once, before the commands of the bootstrap data.
# A command that fails is reported by cloud-init status and does not keep the others from running.
failed=0
`
)

// writtenFile is an entry of cloud-config's write_files.
type writtenFile struct {
	Path        string `json:"path"`
	Owner       string `json:"owner"`
	Permissions string `json:"permissions"`
	Encoding    string `json:"encoding,omitempty"`
	Content     string `json:"content"`
}

// hostConfig is our cloud-config.
type hostConfig struct {
	// PreserveHostname false has cloud-init set the host name, whatever the image says.
	PreserveHostname bool `json:"preserve_hostname"`
	// PreferFQDN decides whether a name with dots is cut at the first one. Distributions differ in their default.
	PreferFQDN bool          `json:"prefer_fqdn_over_hostname"`
	WriteFiles []writtenFile `json:"write_files"`
}

// cloudConfig writes parts as a cloud-config. The host name itself is in the metadata.
func cloudConfig(host string, parts []part) ([]byte, error) {
	config := hostConfig{PreferFQDN: strings.Contains(host, ".")}
	var commands []string
	for _, p := range parts {
		for _, f := range p.files {
			config.WriteFiles = append(config.WriteFiles, f.written())
		}
		commands = append(commands, p.commands...)
	}
	config.WriteFiles = append(config.WriteFiles, commandScript(commands).written())
	out, err := yaml.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("marshalling the host's cloud-config: %w", err)
	}
	return append([]byte("#cloud-config\n"), out...), nil
}

func commandScript(commands []string) file {
	var script strings.Builder
	script.WriteString(commandsHeader)
	for _, command := range commands {
		script.WriteString(command + " || failed=1\n")
	}
	script.WriteString("exit $failed\n")
	return file{path: commandsPath, mode: 0o700, content: script.String()}
}

// written encodes content that is not plain text, because YAML cannot carry every byte.
func (f file) written() writtenFile {
	out := writtenFile{Path: f.path, Owner: "root:root", Permissions: fmt.Sprintf("%04o", f.mode), Content: f.content}
	if !isPlainText([]byte(f.content)) {
		out.Encoding = "b64"
		out.Content = base64.StdEncoding.EncodeToString([]byte(f.content))
	}
	return out
}

// isPlainText reports whether content is printable ASCII with tabs and newlines, which passes through MIME and YAML unchanged.
func isPlainText(content []byte) bool {
	for _, b := range content {
		if (b < ' ' && b != '\n' && b != '\t') || b > '~' {
			return false
		}
	}
	return true
}
