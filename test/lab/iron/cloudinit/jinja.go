// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package cloudinit

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"

	"github.com/nikolalohinski/gonja/v2"
	"github.com/nikolalohinski/gonja/v2/config"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/loaders"
)

// templateName is how the one template of a rendering is known to its loader.
const templateName = "/user-data"

// renderJinja renders a "## template: jinja" document, without its first line, with the instance's data.
// cloud-init would leave a marker where a variable is missing; here that is an error that names it.
// Errors never quote the document, which may hold keys.
func renderJinja(document []byte, data map[string]any) ([]byte, error) {
	_, body, _ := strings.Cut(string(document), "\n")
	settings := config.New()
	settings.TrimBlocks = true
	settings.StrictUndefined = true
	settings.KeepTrailingNewline = true
	loader, err := loaders.NewMemoryLoader(map[string]string{templateName: body})
	if err != nil {
		return nil, fmt.Errorf("loading the Jinja template: %w", err)
	}
	template, err := exec.NewTemplate(templateName, settings, loader, gonja.DefaultEnvironment)
	if err != nil {
		return nil, fmt.Errorf("parsing the Jinja template: %s", innermost(err))
	}
	var out strings.Builder
	if err := template.Execute(&out, exec.NewContext(withAliases(data))); err != nil {
		return nil, fmt.Errorf("rendering the Jinja template: %s", innermost(err))
	}
	return []byte(out.String()), nil
}

// innermost is the last error of a chain: gonja's outer ones quote the whole template.
func innermost(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return firstLine(err.Error())
		}
		err = inner
	}
}

// withAliases does for templates what cloud-init does: keys with characters that Jinja takes for operators
// get a twin with underscores, and what is under v1 is at the top level too.
func withAliases(data map[string]any) map[string]any {
	operators := regexp.MustCompile(`[-+/*%~<>=.:|,;()\[\]{}]+`)
	out := make(map[string]any, len(data))
	for key, value := range data {
		if fields, ok := value.(map[string]any); ok {
			value = withAliases(fields)
		}
		out[key] = value
		if alias := operators.ReplaceAllString(key, "_"); alias != key {
			out[alias] = value
		}
	}
	if standard, ok := out["v1"].(map[string]any); ok {
		maps.Copy(out, standard)
	}
	return out
}
