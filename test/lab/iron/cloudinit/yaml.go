// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package cloudinit

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v2"
)

// parseYAML reads YAML 1.1, as cloud-init's PyYAML does: "yes" is true and 0644 is octal. Mappings come out
// as map[string]any. The error never quotes the document, which may hold keys.
func parseYAML(document []byte) (any, error) {
	var value any
	if err := yaml.Unmarshal(document, &value); err != nil {
		return nil, fmt.Errorf("invalid YAML: %s", firstLine(err.Error()))
	}
	return normalise(value), nil
}

// firstLine keeps the parser's own words ("yaml: line 3: ...") and drops values that follow on later lines.
func firstLine(message string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(message), "\n")
	return line
}

func normalise(value any) any {
	switch typed := value.(type) {
	case map[any]any:
		fields := make(map[string]any, len(typed))
		for key, item := range typed {
			fields[fmt.Sprint(key)] = normalise(item)
		}
		return fields
	case []any:
		for i := range typed {
			typed[i] = normalise(typed[i])
		}
		return typed
	default:
		return value
	}
}

// kindOf names a YAML value's type in the words a user would use.
func kindOf(value any) string {
	switch value.(type) {
	case nil:
		return "nothing"
	case map[string]any:
		return "a mapping"
	case []any:
		return "a list"
	case string:
		return "a string"
	case bool:
		return "a boolean"
	case int, int64, uint64:
		return "an integer"
	case float64:
		return "a number"
	default:
		return fmt.Sprintf("%T", value)
	}
}
