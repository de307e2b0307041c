// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"testing"

	"sigs.k8s.io/yaml"
)

func TestDifference(t *testing.T) {
	for name, c := range map[string]struct{ wanted, live, want string }{
		"equal":                    {"{a: 1, b: [x, {c: true}]}", "{a: 1, b: [x, {c: true}]}", ""},
		"more fields":              {"{a: {b: 1}}", "{a: {b: 1, c: 2}, d: 3}", ""},
		"defaults in items":        {"{pools: [{cidr: 10.0.0.0/8}]}", "{pools: [{cidr: 10.0.0.0/8, blockSize: 26}]}", ""},
		"scalar":                   {"{a: {b: 1}}", "{a: {b: 2}}", ".a.b"},
		"kind of scalar":           {"{a: 'true'}", "{a: true}", ""},
		"missing":                  {"{a: {b: 1}}", "{a: {}}", ".a.b"},
		"missing parent":           {"{a: {b: 1}}", "{}", ".a.b"},
		"empty is missing":         {"{a: '', b: false, c: {}, d: [], e: 0, f: null}", "{}", ""},
		"more items":               {"{a: [1]}", "{a: [1, 2]}", ".a"},
		"fewer items":              {"{a: [1, 2]}", "{a: [1]}", ".a"},
		"other order":              {"{a: [1, 2]}", "{a: [2, 1]}", ".a[0]"},
		"map became list":          {"{a: {b: 1}}", "{a: [1]}", ".a"},
		"list became map":          {"{a: [1]}", "{a: {b: 1}}", ".a"},
		"quantity":                 {"{spec: {resources: {cpu: 1000m}}}", "{spec: {resources: {cpu: '1'}}}", ""},
		"other quantity":           {"{spec: {resources: {cpu: 1000m}}}", "{spec: {resources: {cpu: '2'}}}", ".spec.resources.cpu"},
		"looks like a quantity":    {"{data: {a: 1000m}}", "{data: {a: '1'}}", ".data.a"},
		"switched off by somebody": {"{spec: {wireguardEnabled: true}}", "{spec: {wireguardEnabled: false}}", ".spec.wireguardEnabled"},
	} {
		t.Run(name, func(t *testing.T) {
			var wanted, live map[string]any
			if err := yaml.Unmarshal([]byte(c.wanted), &wanted); err != nil {
				t.Fatal(err)
			}
			if err := yaml.Unmarshal([]byte(c.live), &live); err != nil {
				t.Fatal(err)
			}
			if got := difference("", wanted, live); got != c.want {
				t.Errorf("difference %q, want %q", got, c.want)
			}
		})
	}
}
