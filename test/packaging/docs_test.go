// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package packaging_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/yaml"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/tools"
)

// stringConstants are those of a Go file, by name.
func stringConstants(t *testing.T, path string) map[string]string {
	t.Helper()
	// What our constants are defined by.
	selected := map[string]string{
		"ReadyCondition": clusterv1.ReadyCondition, "DeletingReason": clusterv1.DeletingReason,
		"InternalErrorReason": clusterv1.InternalErrorReason, "WaitingForBootstrapDataReason": clusterv1.WaitingForBootstrapDataReason,
	}
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	constants := map[string]string{}
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok || len(spec.Values) != len(spec.Names) {
			return true
		}
		for i, name := range spec.Names {
			switch value := spec.Values[i].(type) {
			case *ast.BasicLit:
				if value.Kind == token.STRING {
					constants[name.Name], err = strconv.Unquote(value.Value)
				}
			case *ast.SelectorExpr:
				known, found := selected[value.Sel.Name]
				if !found {
					t.Errorf("%s is defined by %s, which this test does not know", name.Name, value.Sel.Name)
				}
				constants[name.Name] = known
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		return true
	})
	return constants
}

// Every condition of the API has a section in the troubleshooting page, every reason a row that says what it means and what to do, and
// there are no others.
func TestTroubleshootingExplainsEveryReason(t *testing.T) {
	root, err := tools.Root()
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "troubleshooting.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string][2]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\|(.*)\\|(.*)\\|$").FindAllStringSubmatch(string(page), -1) {
		if _, twice := rows[row[1]]; twice {
			t.Errorf("reason %s has two rows", row[1])
		}
		rows[row[1]] = [2]string{strings.TrimSpace(row[2]), strings.TrimSpace(row[3])}
	}
	reasons := map[string]bool{}
	for name, value := range stringConstants(t, filepath.Join(root, "api", "v1alpha1", "conditions.go")) {
		switch {
		case strings.HasSuffix(name, "Reason"):
			reasons[value] = true
		case value != clusterv1.ReadyCondition && !strings.Contains(string(page), "\n### "+value+"\n"):
			t.Errorf("condition %s has no section", value)
		}
	}
	for name, value := range stringConstants(t, filepath.Join(root, "dataplane", "encryption", "names.go")) {
		if strings.HasPrefix(name, "Reason") {
			reasons[value] = true
		}
	}
	if len(reasons) < 60 {
		t.Errorf("only %d reasons found", len(reasons))
	}
	for reason := range reasons {
		row, found := rows[reason]
		switch {
		case !found:
			t.Errorf("reason %s has no row", reason)
		case row[0] == "":
			t.Errorf("reason %s: the row does not say what it means", reason)
		case row[1] == "" && !strings.HasPrefix(row[0], "True"):
			t.Errorf("reason %s: the row does not say what to do", reason)
		}
	}
	for reason := range rows {
		if !reasons[reason] {
			t.Errorf("the page explains %s, which is no reason of the API", reason)
		}
	}
}

// The MachineHealthCheck in the troubleshooting page is one, and looks at the condition that the node agent sets.
func TestTroubleshootingHealthCheck(t *testing.T) {
	root, err := tools.Root()
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "troubleshooting.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```yaml\n")
	text, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("no yaml in the page")
	}
	check := &clusterv1.MachineHealthCheck{}
	if err := yaml.UnmarshalStrict([]byte(text), check); err != nil {
		t.Fatal(err)
	}
	conditions := check.Spec.Checks.UnhealthyNodeConditions
	if len(conditions) == 0 || conditions[0].TimeoutSeconds == nil || *conditions[0].TimeoutSeconds < 600 {
		t.Fatalf("no condition with a timeout that outlasts a start: %+v", conditions)
	}
	for _, condition := range conditions {
		if condition.Type != encryption.NodeCondition {
			t.Errorf("looks at %s, which the agent does not set", condition.Type)
		}
	}
}
