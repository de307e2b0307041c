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
		"kubectl":    "#!/bin/sh\nexec " + quote(a.KubectlPath) + " \"$@\"\n",
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
	b.WriteString("#!/bin/sh\n")
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		fmt.Fprintf(&b, "export %s=\"${%s:-%s}\"\n", name, name, variables[name])
	}
	fmt.Fprintf(&b, "exec %s --config %s \"$@\"\n", quote(a.ClusterctlPath), quote(a.ClusterctlConfig))
	return b.String()
}

// Environment is what a person's shell needs, as commands for it.
func (a Access) Environment() string {
	return "export KUBECONFIG=" + quote(a.Kubeconfig) + "\n" +
		"export PATH=" + quote(a.BinDir()) + ":\"$PATH\"\n"
}

// quote makes s one word for a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
