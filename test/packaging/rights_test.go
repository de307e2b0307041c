// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package packaging_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "sigs.k8s.io/cluster-api/util/yaml"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/tools"
)

// What the manager may is what the security page says, verb for verb: a right that comes with a change of the code is seen by its readers.
func TestRightsAreDocumented(t *testing.T) {
	root, err := tools.Root()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(root, "config", "rbac", "role.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	objects, err := utilyaml.ToUnstructured(data)
	if err != nil {
		t.Fatal(err)
	}
	granted := map[string]string{}
	for _, object := range objects {
		if object.GetKind() != "ClusterRole" {
			continue
		}
		role := &rbacv1.ClusterRole{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, role); err != nil {
			t.Fatal(err)
		}
		for _, rule := range role.Rules {
			for _, resource := range rule.Resources {
				granted[resource] = strings.Join(rule.Verbs, ", ")
			}
		}
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rights, _ := strings.Cut(string(page), "## Rights")
	documented := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^ +\\| (`.*`) \\| (.*) \\|$").FindAllStringSubmatch(rights, -1) {
		for resource := range strings.SplitSeq(row[1], ", ") {
			documented[strings.Trim(resource, "`")] = row[2]
		}
	}
	if len(granted) == 0 {
		t.Fatal("the manager may nothing")
	}
	if diff := cmp.Diff(granted, documented); diff != "" {
		t.Errorf("rights (-granted +documented):\n%s", diff)
	}
	for resource, verbs := range granted {
		whole := strings.HasSuffix(resource, "/finalizers") || resource == "events"
		if strings.Contains(verbs, "*") || resource == "*" || strings.Contains(verbs, "update") && !whole {
			t.Errorf("%s: %s; the manager only patches", resource, verbs)
		}
	}
}
