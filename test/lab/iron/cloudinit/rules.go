// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package cloudinit

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// rule checks one value of a cloud-config; at is where it is, e.g. "write_files[2].path".
type rule func(at string, value any) error

// anything accepts every value: the module is not simulated and its details are not checked.
func anything(string, any) error { return nil }

func text(at string, value any) error {
	if _, ok := value.(string); !ok {
		return mismatch(at, "a string", value)
	}
	return nil
}

func boolean(at string, value any) error {
	if _, ok := value.(bool); !ok {
		return mismatch(at, "true or false", value)
	}
	return nil
}

func integer(at string, value any) error {
	if _, ok := value.(int); !ok {
		return mismatch(at, "an integer", value)
	}
	return nil
}

func null(at string, value any) error {
	if value != nil {
		return mismatch(at, "nothing", value)
	}
	return nil
}

func oneWordOf(words ...string) rule {
	return func(at string, value any) error {
		word, ok := value.(string)
		if !ok || !slices.Contains(words, word) {
			return fmt.Errorf("%s: want one of %s", at, strings.Join(words, ", "))
		}
		return nil
	}
}

// either accepts what one of the rules accepts; want describes them all.
func either(want string, rules ...rule) rule {
	return func(at string, value any) error {
		var deeper error
		for _, check := range rules {
			err := check(at, value)
			if err == nil {
				return nil
			}
			// A value of the right kind with something wrong inside: that says more than "want either".
			if wrong, ok := errors.AsType[*mismatchError](err); deeper == nil && (!ok || wrong.at != at) {
				deeper = err
			}
		}
		if deeper != nil {
			return deeper
		}
		return mismatch(at, want, value)
	}
}

// list accepts between least and most items; most 0 means no limit.
func list(item rule, least, most int) rule {
	return func(at string, value any) error {
		items, ok := value.([]any)
		if !ok {
			return mismatch(at, "a list", value)
		}
		if len(items) < least || (most > 0 && len(items) > most) {
			return fmt.Errorf("%s: has %d items, want at least %d and at most %d", at, len(items), least, most)
		}
		var errs []error
		for i, entry := range items {
			errs = append(errs, item(fmt.Sprintf("%s[%d]", at, i), entry))
		}
		return errors.Join(errs...)
	}
}

// mapping accepts the given fields and no others.
func mapping(fields map[string]rule, required ...string) rule {
	return func(at string, value any) error {
		got, ok := value.(map[string]any)
		if !ok {
			return mismatch(at, "a mapping", value)
		}
		var errs []error
		for _, name := range required {
			if _, ok := got[name]; !ok {
				errs = append(errs, fmt.Errorf("%s: field %s is required", at, name))
			}
		}
		for _, name := range slices.Sorted(maps.Keys(got)) {
			check, ok := fields[name]
			if !ok {
				errs = append(errs, fmt.Errorf("%s: cloud-init knows no field %q here", firstOf(at, "cloud-config"), name))
				continue
			}
			errs = append(errs, check(strings.TrimPrefix(at+"."+name, "."), got[name]))
		}
		return errors.Join(errs...)
	}
}

// mapOf accepts any names; each value must pass the rule.
func mapOf(item rule) rule {
	return func(at string, value any) error {
		got, ok := value.(map[string]any)
		if !ok {
			return mismatch(at, "a mapping", value)
		}
		var errs []error
		for _, name := range slices.Sorted(maps.Keys(got)) {
			errs = append(errs, item(at+"."+name, got[name]))
		}
		return errors.Join(errs...)
	}
}

// mismatchError tells that a value is of the wrong kind.
type mismatchError struct {
	at, want, got string
}

func (e *mismatchError) Error() string {
	return fmt.Sprintf("%s: want %s, got %s", e.at, e.want, e.got)
}

func mismatch(at, want string, value any) error {
	return &mismatchError{at: at, want: want, got: kindOf(value)}
}
