// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package support

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is a rule that is broken.
type Problem struct {
	// Field to change, for example spec.dataplane.ipPools.
	Field string
	// Message says what is wrong, why, and what to do.
	Message string
}

func (p Problem) String() string { return p.Field + ": " + p.Message }

// Error is a refusal.
type Error struct {
	// Problems, at least one.
	Problems []Problem
}

func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, problem := range e.Problems {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "; ")
}

// Check returns a problem for each rule that the values break, in the order of Rules.
func Check(values Values) []Problem {
	var problems []Problem
	for _, rule := range Rules() {
		found := rule.broken(values)
		if len(found) == 0 {
			continue
		}
		slices.Sort(found)
		message := rule.Why + "; " + rule.Fix
		if details := strings.Join(slices.DeleteFunc(slices.Compact(found), func(s string) bool { return s == "" }), ", "); details != "" {
			message = details + ": " + message
		}
		problems = append(problems, Problem{Field: rule.Field, Message: message})
	}
	return problems
}

// Markdown is the table of all rules for people.
func Markdown() string {
	rules := Rules()
	slices.SortStableFunc(rules, func(a, b Rule) int { return cmp.Compare(leakOrder(a), leakOrder(b)) })
	var b strings.Builder
	b.WriteString("| Refused | Field | Why | Instead |\n|---|---|---|---|\n")
	for _, rule := range rules {
		mark := ""
		if rule.Leaks {
			mark = "**Leaks.** "
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s%s | %s |\n", rule.When, rule.Field, mark, sentence(rule.Why), sentence(rule.Fix))
	}
	return b.String()
}

func leakOrder(rule Rule) int {
	if rule.Leaks {
		return 0
	}
	return 1
}

// sentence starts text with an upper-case letter. Names such as controlPlaneEndpoint, which start a text in few places, are
// written as code and so stay as they are.
func sentence(text string) string { return strings.ToUpper(text[:1]) + text[1:] }
