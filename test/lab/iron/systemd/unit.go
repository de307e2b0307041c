// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package systemd reads a service's unit file and its drop-ins as systemd would, and works out the command
// line that the service is started with.
package systemd

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Disk is what unit files are read from; paths are absolute.
type Disk interface {
	Read(name string) ([]byte, error)
	List(dir, pattern string) ([]string, error)
}

// Service is a unit with its drop-ins applied.
type Service struct {
	// Settings are the values of each key of [Service], in order; an empty assignment has emptied the list.
	Settings map[string][]string
}

// unitDirs are systemd's unit directories, the strongest first.
func unitDirs() []string {
	return []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}
}

// Load reads a service. The unit file comes from the strongest directory that has it; drop-ins of all
// directories apply in the order of their file names, and of two with the same name the strongest counts.
// The error is fs.ErrNotExist when there is no unit file.
func Load(disk Disk, name string) (*Service, error) {
	service := &Service{Settings: map[string][]string{}}
	found := false
	for _, dir := range unitDirs() {
		content, err := disk.Read(dir + "/" + name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := service.apply(content); err != nil {
			return nil, fmt.Errorf("%s/%s: %w", dir, name, err)
		}
		found = true
		break
	}
	if !found {
		return nil, fmt.Errorf("unit %s: %w", name, fs.ErrNotExist)
	}
	dropIns, err := dropInFiles(disk, name)
	if err != nil {
		return nil, err
	}
	for _, base := range slices.Sorted(maps.Keys(dropIns)) {
		content, err := disk.Read(dropIns[base])
		if err != nil {
			return nil, err
		}
		if err := service.apply(content); err != nil {
			return nil, fmt.Errorf("%s: %w", dropIns[base], err)
		}
	}
	return service, nil
}

// dropInFiles maps a drop-in's base name to the path that counts.
func dropInFiles(disk Disk, name string) (map[string]string, error) {
	files := map[string]string{}
	for _, dir := range slices.Backward(unitDirs()) {
		names, err := disk.List(dir+"/"+name+".d", "*.conf")
		if err != nil {
			return nil, err
		}
		for _, base := range names {
			files[base] = dir + "/" + name + ".d/" + base
		}
	}
	return files, nil
}

// apply adds the [Service] section of one file.
func (s *Service) apply(content []byte) error {
	section := ""
	for number, line := range logicalLines(string(content)) {
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[':
			if !strings.HasSuffix(line, "]") {
				return fmt.Errorf("line %d: invalid section header %q", number, line)
			}
			section = line[1 : len(line)-1]
		case section == "Service":
			key, value, ok := strings.Cut(line, "=")
			if !ok {
				return fmt.Errorf("line %d: missing '='", number)
			}
			key, value = strings.TrimSpace(key), strings.TrimSpace(value)
			if value == "" {
				s.Settings[key] = nil
				continue
			}
			s.Settings[key] = append(s.Settings[key], value)
		}
	}
	return nil
}

// logicalLines joins lines that end in a backslash; comments between them are dropped.
func logicalLines(text string) func(yield func(int, string) bool) {
	return func(yield func(int, string) bool) {
		pending, number := "", 0
		for line := range strings.Lines(text) {
			number++
			line = strings.TrimSpace(line)
			if pending != "" && (strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";")) {
				continue
			}
			if joined, ok := strings.CutSuffix(line, `\`); ok {
				pending += joined + " "
				continue
			}
			if !yield(number, strings.TrimSpace(pending+line)) {
				return
			}
			pending = ""
		}
		if pending != "" {
			yield(number, strings.TrimSpace(pending))
		}
	}
}

// Command is one command of a service, ready to run.
type Command struct {
	// Line is the program and its arguments.
	Line []string
	// Environment of the program.
	Environment map[string]string
	// MayFail is true when the service starts even if the command fails.
	MayFail bool
}

// StartPre returns the commands that run one after the other before ExecStart. Each is worked out when it is
// asked for, because systemd reads the environment files anew before every command.
func (s *Service) StartPre(disk Disk) func(yield func(Command, error) bool) {
	return func(yield func(Command, error) bool) {
		for _, setting := range s.Settings["ExecStartPre"] {
			command, err := s.command(disk, setting)
			if err != nil {
				err = fmt.Errorf("ExecStartPre=: %w", err)
			}
			if !yield(command, err) || err != nil {
				return
			}
		}
	}
}

// command fills in the environment of one Exec...= setting and splits it into words.
func (s *Service) command(disk Disk, setting string) (Command, error) {
	environment, err := s.environment(disk)
	if err != nil {
		return Command{}, err
	}
	line := strings.TrimLeft(setting, "-@:+!")
	words, err := splitWords(line)
	if err != nil {
		return Command{}, err
	}
	command := Command{Environment: environment, MayFail: strings.Contains(setting[:len(setting)-len(line)], "-")}
	for i, word := range words {
		expanded, err := expand(word, environment)
		if err != nil {
			return Command{}, err
		}
		if i == 0 && len(expanded) != 1 {
			return Command{}, fmt.Errorf("the command %q is not one word", word)
		}
		command.Line = append(command.Line, expanded...)
	}
	return command, nil
}

// CommandLine is the service's ExecStart with its environment filled in, split into words. A missing
// EnvironmentFile is an error unless its name starts with "-"; variables that are not set vanish.
func (s *Service) CommandLine(disk Disk) ([]string, error) {
	commands := s.Settings["ExecStart"]
	if len(commands) == 0 {
		return nil, fmt.Errorf("service lacks ExecStart=")
	}
	if len(commands) > 1 && !slices.Contains(s.Settings["Type"], "oneshot") {
		return nil, fmt.Errorf("service has more than one ExecStart= setting, which is only allowed for Type=oneshot services")
	}
	command, err := s.command(disk, commands[0])
	if err != nil {
		return nil, fmt.Errorf("ExecStart=: %w", err)
	}
	return command.Line, nil
}

// environment is Environment= first, then the files, which override it.
func (s *Service) environment(disk Disk) (map[string]string, error) {
	environment := map[string]string{}
	for _, setting := range s.Settings["Environment"] {
		words, err := splitWords(setting)
		if err != nil {
			return nil, fmt.Errorf("setting Environment=: %w", err)
		}
		for _, word := range words {
			if name, value, ok := strings.Cut(word, "="); ok {
				environment[name] = value
			}
		}
	}
	for _, name := range s.Settings["EnvironmentFile"] {
		name, optional := strings.CutPrefix(name, "-")
		content, err := disk.Read(name)
		if errors.Is(err, fs.ErrNotExist) && optional {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("EnvironmentFile=: %w", err)
		}
		maps.Copy(environment, environmentFile(string(content)))
	}
	return environment, nil
}

// environmentFile reads NAME=value lines; a value can be quoted.
func environmentFile(text string) map[string]string {
	variables := map[string]string{}
	for _, line := range logicalLines(text) {
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		if len(value) >= 2 && (value[0] == '"' || value[0] == '\'') && value[len(value)-1] == value[0] {
			quote := value[0]
			value = value[1 : len(value)-1]
			if quote == '"' {
				value = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(value)
			}
		}
		variables[strings.TrimSpace(name)] = value
	}
	return variables
}

// expand fills in variables: a word that is just $NAME becomes as many words as its value has; ${NAME}
// becomes part of the word.
func expand(word string, environment map[string]string) ([]string, error) {
	if name, ok := strings.CutPrefix(word, "$"); ok && regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`).MatchString(name) {
		return splitWords(environment[name])
	}
	pattern := regexp.MustCompile(`\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)
	return []string{pattern.ReplaceAllStringFunc(word, func(match string) string {
		if match == "$$" {
			return "$"
		}
		return environment[match[2:len(match)-1]]
	})}, nil
}

// splitWords splits at blanks; quotes hold words together and a backslash escapes.
func splitWords(text string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord, quote := false, rune(0)
	escaped := false
	for _, r := range text {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped, inWord = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '"' || r == '\'':
			quote, inWord = r, true
		case r == ' ' || r == '\t':
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord = false
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("unbalanced quoting")
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}
