// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
)

// difference is the path of the first field of wanted that live has not; "" when live has all. Live may have more fields, as when
// somebody fills in defaults, also inside the items of a list, but not more items.
func difference(path string, wanted, live any) string {
	switch w := wanted.(type) {
	case map[string]any:
		l, ok := live.(map[string]any)
		if !ok && live != nil {
			return path
		}
		return fieldDifference(path, w, l)
	case []any:
		l, ok := live.([]any)
		if !ok && live != nil || len(l) != len(w) {
			return path
		}
		return itemDifference(path, w, l)
	default:
		if !equal(path, text(wanted), text(live)) {
			return path
		}
		return ""
	}
}

func fieldDifference(path string, wanted, live map[string]any) string {
	for _, key := range slices.Sorted(maps.Keys(wanted)) {
		if found := difference(path+"."+key, wanted[key], live[key]); found != "" {
			return found
		}
	}
	return ""
}

func itemDifference(path string, wanted, live []any) string {
	for i := range wanted {
		if found := difference(fmt.Sprintf("%s[%d]", path, i), wanted[i], live[i]); found != "" {
			return found
		}
	}
	return ""
}

// equal compares scalars. The API server writes quantities in a form of its own.
func equal(path, wanted, live string) bool {
	if wanted == live {
		return true
	}
	if !strings.Contains(path, ".resources.") {
		return false
	}
	w, err1 := resource.ParseQuantity(wanted)
	l, err2 := resource.ParseQuantity(live)
	return err1 == nil && err2 == nil && w.Equal(l)
}

// text of a scalar. Numbers are the same however they were decoded, and what is empty may be left out.
func text(scalar any) string {
	if s, ok := scalar.(string); ok {
		return s
	}
	data, err := json.Marshal(scalar)
	if err != nil {
		return fmt.Sprint(scalar)
	}
	switch s := string(data); s {
	case "null", "false", "0":
		return ""
	default:
		return s
	}
}
