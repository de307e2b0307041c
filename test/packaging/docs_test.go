// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package packaging_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/tools"
)

// Every condition and reason of the API is explained in the troubleshooting table.
func TestTroubleshootingNamesEveryReason(t *testing.T) {
	root, err := tools.Root()
	if err != nil {
		t.Fatal(err)
	}
	guide, err := os.ReadFile(filepath.Join(root, "docs", "getting-started.md"))
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "api", "v1alpha1", "conditions.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	ast.Inspect(file, func(node ast.Node) bool {
		literal, ok := node.(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			return true
		}
		value, err := strconv.Unquote(literal.Value)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(value, "/") { // an import
			return true
		}
		checked++
		if !strings.Contains(string(guide), "`"+value+"`") {
			t.Errorf("docs/getting-started.md does not explain %s", value)
		}
		return true
	})
	if checked == 0 {
		t.Error("no conditions found")
	}
}
