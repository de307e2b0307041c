// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// BinDir holds clusterctl and kubectl for people: shell scripts that run the lab's own with what they
// need to find this lab.
func (a Access) BinDir() string { return filepath.Join(a.Dir, "bin") }

func (a Access) writeWrappers() error {
	if err := os.MkdirAll(a.BinDir(), 0o755); err != nil {
		return fmt.Errorf("create the folder of clusterctl and kubectl: %w", err)
	}
	scripts := map[string]string{
		"clusterctl": a.clusterctlScript(),
		"kubectl":    "#!/bin/sh\n" + a.exportProxy() + "exec " + quote(a.KubectlPath) + " \"$@\"\n",
	}
	for name, script := range scripts {
		if err := os.WriteFile(filepath.Join(a.BinDir(), name), []byte(script), 0o755); err != nil {
			return fmt.Errorf("write %s for this lab: %w", name, err)
		}
	}
	return nil
}

// clusterctlScript gives the template's variables the site's values unless the caller has set them.
func (a Access) clusterctlScript() string {
	variables := a.Site.Variables()
	maps.Copy(variables, map[string]string{"CLUSTERCTL_DISABLE_VERSIONCHECK": "true", "CLUSTER_TOPOLOGY": "true"})
	var b strings.Builder
	b.WriteString("#!/bin/sh\n" + a.exportProxy())
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		fmt.Fprintf(&b, "export %s=\"${%s:-%s}\"\n", name, name, variables[name])
	}
	fmt.Fprintf(&b, "exec %s --config %s \"$@\"\n", quote(a.ClusterctlPath), quote(a.ClusterctlConfig))
	return b.String()
}

// exportProxy are a script's lines for what proxyVariables says.
func (a Access) exportProxy() string {
	variables := a.proxyVariables()
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		fmt.Fprintf(&b, "export %s=%s\n", name, quote(variables[name]))
	}
	return b.String()
}

// Environment is what a person's shell needs, as commands for it. The proxy to virtual hosts is a comment: the scripts in
// BinDir know it, and set for the whole shell it would take every HTTPS connection to the hosts' network.
func (a Access) Environment() string {
	environment := "export KUBECONFIG=" + quote(a.Kubeconfig) + "\n" +
		"export PATH=" + quote(a.BinDir()) + ":\"$PATH\"\n"
	if a.Proxy != "" {
		environment += "# Other programs reach the hosts with HTTPS_PROXY=" + quote(a.Proxy) + "\n"
	}
	return environment
}

// quote makes s one word for a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
