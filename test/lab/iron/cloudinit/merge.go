// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package cloudinit

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// defaultMerge is what cloud-init does with user-data parts that ask for nothing: a later part's top-level
// keys replace an earlier part's.
const defaultMerge = "dict(replace)+list()+str()"

// merger is one term of a merge type, such as list(append).
type merger struct {
	kind    string
	options []string
}

func (m merger) has(options ...string) bool {
	return slices.ContainsFunc(options, func(o string) bool { return slices.Contains(m.options, o) })
}

// method is the first of the given methods that the term names; the last one is the default.
func (m merger) method(methods ...string) string {
	for _, method := range methods {
		if m.has(method) {
			return method
		}
	}
	return methods[len(methods)-1]
}

// strategy merges values; for each kind of value the first term of that kind decides.
type strategy []merger

// mergePart merges one cloud-config part into what came before. header is the part's (X-)Merge-Type.
func mergePart(base, addition map[string]any, header string) (map[string]any, error) {
	how, err := strategyOf(addition, header)
	if err != nil {
		return nil, err
	}
	rest := maps.Clone(addition)
	if _, ok := rest["merge_how"]; ok {
		delete(rest, "merge_how")
	} else {
		delete(rest, "merge_type")
	}
	merged, err := how.merge(base, rest)
	if err != nil {
		return nil, err
	}
	return merged.(map[string]any), nil
}

// strategyOf puts together what the part itself asks for and, after it, what its header asks for.
func strategyOf(config map[string]any, header string) (strategy, error) {
	raw, ok := config["merge_how"]
	if !ok || raw == nil {
		raw = config["merge_type"]
	}
	how, err := parseMergeValue(raw)
	if err != nil {
		return nil, err
	}
	fromHeader, err := parseMergeString(header)
	if err != nil {
		return nil, err
	}
	how = append(how, fromHeader...)
	if len(how) == 0 {
		return parseMergeString(defaultMerge)
	}
	return how, nil
}

func parseMergeValue(raw any) (strategy, error) {
	switch typed := raw.(type) {
	case nil:
		return nil, nil
	case string:
		return parseMergeString(typed)
	case []any:
		var how strategy
		for _, entry := range typed {
			term, err := parseMergeEntry(entry)
			if err != nil {
				return nil, err
			}
			how = append(how, term)
		}
		return how, nil
	default:
		return nil, fmt.Errorf("merge_how: want a string or a list, got %s", kindOf(raw))
	}
}

// parseMergeEntry reads one entry of the list form: {name: list, settings: [append]} or [list, append].
func parseMergeEntry(entry any) (merger, error) {
	var words []any
	switch typed := entry.(type) {
	case map[string]any:
		settings, ok := typed["settings"].([]any)
		if !ok {
			return merger{}, fmt.Errorf("merge_how: settings: want a list, got %s", kindOf(typed["settings"]))
		}
		words = append([]any{typed["name"]}, settings...)
	case []any:
		words = typed
	}
	if len(words) == 0 {
		return merger{}, fmt.Errorf("merge_how: an entry names no merger")
	}
	texts := make([]string, len(words))
	for i, word := range words {
		text, ok := word.(string)
		if !ok {
			return merger{}, fmt.Errorf("merge_how: want strings, got %s", kindOf(word))
		}
		texts[i] = text
	}
	return newMerger(texts[0], texts[1:])
}

func parseMergeString(text string) (strategy, error) {
	pattern := regexp.MustCompile(`^([a-zA-Z_][A-Za-z0-9_]*)\((.*?)\)$`)
	var how strategy
	for word := range strings.SplitSeq(text, "+") {
		word = strings.ReplaceAll(strings.ToLower(strings.TrimSpace(word)), "-", "_")
		if word == "" {
			continue
		}
		match := pattern.FindStringSubmatch(word)
		if match == nil {
			return nil, fmt.Errorf("merge type %q: want terms such as list(append)+dict(no_replace,recurse_list)+str()", text)
		}
		var options []string
		for option := range strings.SplitSeq(match[2], ",") {
			if option = strings.TrimSpace(option); option != "" {
				options = append(options, option)
			}
		}
		term, err := newMerger(match[1], options)
		if err != nil {
			return nil, err
		}
		how = append(how, term)
	}
	return how, nil
}

func newMerger(name string, options []string) (merger, error) {
	kind := strings.TrimPrefix(strings.ReplaceAll(strings.TrimSpace(name), "-", "_"), "m_")
	if !slices.Contains([]string{"dict", "list", "str"}, kind) {
		return merger{}, fmt.Errorf("unknown merger %q: cloud-init has dict, list and str", name)
	}
	return merger{kind: kind, options: options}, nil
}

// merge merges addition into base. A kind that no term is for stays as it was.
func (s strategy) merge(base, addition any) (any, error) {
	switch typed := base.(type) {
	case map[string]any:
		return s.mergeDict(typed, addition)
	case []any:
		return s.mergeList(typed, addition)
	case string:
		return s.mergeString(typed, addition), nil
	default:
		return base, nil
	}
}

func (s strategy) term(kind string) (merger, bool) {
	i := slices.IndexFunc(s, func(m merger) bool { return m.kind == kind })
	if i < 0 {
		return merger{}, false
	}
	return s[i], true
}

func (s strategy) mergeDict(base map[string]any, addition any) (any, error) {
	term, ok := s.term("dict")
	fields, isMapping := addition.(map[string]any)
	if !ok || !isMapping {
		return base, nil
	}
	merged := maps.Clone(base)
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		value := fields[key]
		old, exists := merged[key]
		switch {
		case !exists:
			merged[key] = value
		case value == nil && term.has("allow_delete"):
			delete(merged, key)
		default:
			item, err := s.sameKey(term, old, value)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
			merged[key] = item
		}
	}
	return merged, nil
}

func (s strategy) sameKey(term merger, old, value any) (any, error) {
	if term.method("replace", "no_replace") == "replace" {
		return value, nil
	}
	recurse := false
	switch value.(type) {
	case []any:
		recurse = term.has("recurse_array", "recurse_list")
	case string:
		recurse = term.has("recurse_str")
	case map[string]any:
		recurse = true
	}
	if !recurse {
		return old, nil
	}
	return s.merge(old, value)
}

func (s strategy) mergeList(base []any, addition any) (any, error) {
	term, ok := s.term("list")
	if !ok {
		return base, nil
	}
	method := term.method("append", "prepend", "no_replace", "replace")
	items, isList := addition.([]any)
	if !isList {
		if method == "replace" {
			return addition, nil
		}
		return nil, fmt.Errorf("cannot merge %s into a list", kindOf(addition))
	}
	switch method {
	case "append":
		return slices.Concat(base, items), nil
	case "prepend":
		return slices.Concat(items, base), nil
	case "no_replace":
		return base, nil
	}
	merged := slices.Clone(base)
	for i := range min(len(merged), len(items)) {
		item, err := s.sameIndex(term, merged[i], items[i])
		if err != nil {
			return nil, err
		}
		merged[i] = item
	}
	return merged, nil
}

func (s strategy) sameIndex(term merger, old, value any) (any, error) {
	recurse := false
	switch value.(type) {
	case []any:
		recurse = term.has("recurse_array", "recurse_list")
	case string:
		recurse = term.has("recurse_str")
	case map[string]any:
		recurse = term.has("recurse_dict")
	}
	if !recurse {
		return value, nil
	}
	return s.merge(old, value)
}

func (s strategy) mergeString(base string, addition any) any {
	term, ok := s.term("str")
	if !ok {
		return base
	}
	text, isString := addition.(string)
	if !isString || !term.has("append") {
		return addition
	}
	return base + text
}
