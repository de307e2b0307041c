// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package cloudinit

import (
	"fmt"
	"strings"
)

// ShellScript makes the script that cloud-init runs for bootcmd or runcmd, or nil when the key is not set:
// strings are lines of shell, lists are one command with its words quoted.
func (u *UserData) ShellScript(key string) ([]byte, error) {
	value, ok := u.Config[key]
	if !ok {
		return nil, nil
	}
	commands, ok := value.([]any)
	if !ok {
		return nil, fmt.Errorf("%s: want a list of commands, got %s", key, kindOf(value))
	}
	var script strings.Builder
	script.WriteString("#!/bin/sh\n")
	for i, command := range commands {
		line, err := shellLine(command)
		if err != nil {
			return nil, fmt.Errorf("%s[%d]: %w", key, i, err)
		}
		script.WriteString(line)
	}
	return []byte(script.String()), nil
}

func shellLine(command any) (string, error) {
	switch typed := command.(type) {
	case nil:
		return "", nil
	case string:
		return typed + "\n", nil
	case []any:
		words := make([]string, len(typed))
		for i, word := range typed {
			words[i] = "'" + strings.ReplaceAll(fmt.Sprint(word), "'", `'\''`) + "'"
		}
		return strings.Join(words, " ") + "\n", nil
	default:
		return "", fmt.Errorf("want a string or a list of strings, got %s", kindOf(command))
	}
}
