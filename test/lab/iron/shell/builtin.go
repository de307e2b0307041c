// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package shell

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"mvdan.cc/sh/v3/syntax"
)

// builtin are the programs that every host has: shells, and what works on files and text alone.
func (s *Shell) builtin() map[string]Program {
	return map[string]Program{
		"sh": s.shell, "bash": s.shell, "dash": s.shell, "env": s.env, "sudo": s.sudo, "nice": s.sudo, "timeout": s.timeout,
		"mkdir": s.file(s.mkdir), "rm": s.file(s.remove), "rmdir": s.file(s.remove), "mv": s.file(s.move),
		"cp": s.file(s.copy), "touch": s.file(s.touch), "ln": s.link, "cat": s.cat, "tee": s.tee,
		"chmod": s.fileWithFirst(s.chmod), "chown": s.fileWithFirst(s.exists), "chgrp": s.fileWithFirst(s.exists),
		"install": s.install, "sleep": sleep, "grep": s.grep, "sed": s.sed, "uname": uname, "date": date, "id": identity,
	}
}

// shell is sh and bash: -c with a command, or a script file; -e, -u and -x are passed on.
func (s *Shell) shell(ctx context.Context, call Call) uint8 {
	variant := variantOf(path.Base(call.Args[0]))
	args := call.Args[1:]
	prelude, command := "", false
	for len(args) > 0 && strings.HasPrefix(args[0], "-") && len(args[0]) > 1 {
		for _, letter := range strings.TrimLeft(args[0], "-") {
			switch letter {
			case 'c':
				command = true
			case 'e', 'u', 'x':
				prelude += "set -" + string(letter) + "\n"
			}
		}
		args = args[1:]
	}
	if len(args) == 0 {
		text, err := io.ReadAll(call.Stdin)
		if err != nil {
			return report(call, err)
		}
		return s.nested(ctx, call, prelude+string(text), []string{"sh"}, variant)
	}
	if command {
		name := []string{"sh"}
		if len(args) > 1 {
			name = args[1:]
		}
		return s.nested(ctx, call, prelude+args[0], name, variant)
	}
	text, err := s.Disk.Read(call.Path(args[0]))
	if err != nil {
		fmt.Fprintf(call.Stderr, "sh: %v\n", err)
		return statusNotFound
	}
	return s.nested(ctx, call, prelude+string(text), args, variant)
}

func (s *Shell) nested(ctx context.Context, call Call, text string, args []string, variant syntax.LangVariant) uint8 {
	call.Args = args
	return s.finish(call, func() (uint8, error) { return s.interpret(ctx, call, []byte(text), variant) })
}

func (s *Shell) env(ctx context.Context, call Call) uint8 {
	args := call.Args[1:]
	for len(args) > 0 && strings.Contains(args[0], "=") {
		name, value, _ := strings.Cut(args[0], "=")
		call.Env[name] = value
		args = args[1:]
	}
	if len(args) == 0 {
		for _, line := range environ(call.Env) {
			fmt.Fprintln(call.Stdout, line)
		}
		return 0
	}
	call.Args = args
	return s.exec(ctx, call)
}

// sudo runs the rest of its words: everything here runs as root, at one priority.
func (s *Shell) sudo(ctx context.Context, call Call) uint8 {
	args := call.Args[1:]
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		args = args[1:]
	}
	if len(args) == 0 {
		return 0
	}
	call.Args = args
	return s.exec(ctx, call)
}

func (s *Shell) timeout(ctx context.Context, call Call) uint8 {
	_, args := splitFlags(call.Args[1:])
	if len(args) < 2 {
		return report(call, errors.New("missing operand"))
	}
	limit, err := duration(args[0])
	if err != nil {
		return report(call, err)
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	call.Args = args[1:]
	status := s.exec(limited, call)
	if limited.Err() != nil && ctx.Err() == nil {
		return 124
	}
	return status
}

// splitFlags takes leading flags off.
func splitFlags(args []string) ([]string, []string) {
	n := 0
	for n < len(args) && strings.HasPrefix(args[n], "-") {
		n++
	}
	return args[:n], args[n:]
}

func sleep(ctx context.Context, call Call) uint8 {
	var total time.Duration
	for _, word := range call.Args[1:] {
		length, err := duration(word)
		if err != nil {
			return report(call, err)
		}
		total += length
	}
	select {
	case <-time.After(total):
		return 0
	case <-ctx.Done():
		return 1
	}
}

// duration reads seconds, or a number with s, m or h.
func duration(word string) (time.Duration, error) {
	if seconds, err := strconv.ParseFloat(word, 64); err == nil && seconds >= 0 {
		return time.Duration(seconds * float64(time.Second)), nil
	}
	length, err := time.ParseDuration(word)
	if err != nil || length < 0 {
		return 0, fmt.Errorf("invalid time interval '%s'", word)
	}
	return length, nil
}

// install copies files with a mode (-m) or makes directories (-d); owners (-o, -g) are not kept.
func (s *Shell) install(_ context.Context, call Call) uint8 {
	mode, directories := "0755", false
	var operands []string
	args := call.Args[1:]
	for i := 0; i < len(args); i++ {
		switch {
		case args[i] == "-m" || args[i] == "-o" || args[i] == "-g":
			if i++; i >= len(args) {
				return report(call, errors.New("a flag lacks its value"))
			}
			if args[i-1] == "-m" {
				mode = args[i]
			}
		case strings.HasPrefix(args[i], "-m"):
			mode = strings.TrimPrefix(args[i], "-m")
		case args[i] == "-d":
			directories = true
		case strings.HasPrefix(args[i], "-"):
		default:
			operands = append(operands, call.Path(args[i]))
		}
	}
	if directories {
		return report(call, errors.Join(s.mkdir("p", operands), s.chmod(mode, "", operands)))
	}
	pairs, err := s.targets(operands)
	if err != nil {
		return report(call, err)
	}
	for _, pair := range pairs {
		if err := errors.Join(s.copy("", pair[:]), s.chmod(mode, "", pair[1:])); err != nil {
			return report(call, err)
		}
	}
	return 0
}

// grep knows -q, -v, -i, -E, -F, -x and -s.
func (s *Shell) grep(_ context.Context, call Call) uint8 {
	flags, operands := letters(call.Args[1:])
	if len(operands) == 0 {
		return statusUsage
	}
	expression := operands[0]
	if strings.Contains(flags, "F") {
		expression = regexp.QuoteMeta(expression)
	}
	if strings.Contains(flags, "x") {
		expression = "^(?:" + expression + ")$"
	}
	if strings.Contains(flags, "i") {
		expression = "(?i)" + expression
	}
	pattern, err := regexp.Compile(expression)
	if err != nil {
		fmt.Fprintf(call.Stderr, "grep: %v\n", err)
		return statusUsage
	}
	input, err := s.inputs(call, operands[1:])
	if err != nil {
		if !strings.Contains(flags, "s") {
			fmt.Fprintf(call.Stderr, "grep: %v\n", err)
		}
		return statusUsage
	}
	found := false
	for scanner := bufio.NewScanner(bytes.NewReader(input)); scanner.Scan(); {
		if pattern.MatchString(scanner.Text()) == strings.Contains(flags, "v") {
			continue
		}
		found = true
		if !strings.Contains(flags, "q") {
			fmt.Fprintln(call.Stdout, scanner.Text())
		}
	}
	if !found {
		return 1
	}
	return 0
}

func (s *Shell) inputs(call Call, names []string) ([]byte, error) {
	if len(names) == 0 {
		return io.ReadAll(call.Stdin)
	}
	var all []byte
	for _, name := range names {
		content, err := s.Disk.Read(call.Path(name))
		if err != nil {
			return nil, err
		}
		all = append(all, content...)
	}
	return all, nil
}

func uname(_ context.Context, call Call) uint8 {
	answers := map[string]string{"-r": "6.1.0-lab", "-m": "x86_64", "-n": "localhost", "-s": "Linux"}
	answer := "Linux"
	for _, flag := range call.Args[1:] {
		if slices.Contains([]string{"-r", "-m", "-n", "-s"}, flag) {
			answer = answers[flag]
		}
	}
	fmt.Fprintln(call.Stdout, answer)
	return 0
}

func date(_ context.Context, call Call) uint8 {
	format := time.UnixDate
	if slices.Contains(call.Args, "+%s") {
		fmt.Fprintln(call.Stdout, time.Now().Unix())
		return 0
	}
	if slices.Contains(call.Args, "-Is") || slices.Contains(call.Args, "--iso-8601=seconds") {
		format = time.RFC3339
	}
	fmt.Fprintln(call.Stdout, time.Now().UTC().Format(format))
	return 0
}

func identity(_ context.Context, call Call) uint8 {
	if slices.Contains(call.Args, "-u") || slices.Contains(call.Args, "-g") {
		fmt.Fprintln(call.Stdout, "0")
		return 0
	}
	fmt.Fprintln(call.Stdout, "uid=0(root) gid=0(root) groups=0(root)")
	return 0
}
