// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// fileOp does one thing to the disk; the flags are letters, the operands absolute paths.
type fileOp func(flags string, operands []string) error

// file makes a program of an operation: it parses flags, reports errors and sets the status.
func (s *Shell) file(op fileOp) Program {
	return func(_ context.Context, call Call) uint8 {
		flags, operands := letters(call.Args[1:])
		for i := range operands {
			operands[i] = call.Path(operands[i])
		}
		return report(call, op(flags, operands))
	}
}

// fileWithFirst is like file for programs whose first operand is no path, such as chmod.
func (s *Shell) fileWithFirst(op func(first string, flags string, operands []string) error) Program {
	return func(_ context.Context, call Call) uint8 {
		flags, operands := letters(call.Args[1:])
		if len(operands) < 2 {
			return report(call, errors.New("missing operand"))
		}
		first := operands[0]
		operands = operands[1:]
		for i := range operands {
			operands[i] = call.Path(operands[i])
		}
		return report(call, op(first, flags, operands))
	}
}

func report(call Call, err error) uint8 {
	if err == nil {
		return 0
	}
	fmt.Fprintf(call.Stderr, "%s: %v\n", path.Base(call.Args[0]), err)
	return 1
}

// letters separates short flags, as one string of letters, from operands; long flags become their first letter.
func letters(args []string) (string, []string) {
	var flags strings.Builder
	var operands []string
	for i, arg := range args {
		switch {
		case arg == "--":
			return flags.String(), append(operands, args[i+1:]...)
		case strings.HasPrefix(arg, "--"):
			flags.WriteByte(arg[2])
		case strings.HasPrefix(arg, "-") && len(arg) > 1:
			flags.WriteString(arg[1:])
		default:
			operands = append(operands, arg)
		}
	}
	return flags.String(), operands
}

func (s *Shell) mkdir(flags string, operands []string) error {
	var errs []error
	for _, name := range operands {
		if strings.Contains(flags, "p") {
			errs = append(errs, s.Disk.MkdirAll(name, 0o755))
			continue
		}
		real, err := s.Disk.Real(name)
		if err == nil {
			err = relabel(os.Mkdir(real, 0o755), name)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (s *Shell) chmod(mode, flags string, operands []string) error {
	var errs []error
	for _, name := range operands {
		real, err := s.Disk.Real(name)
		if err != nil {
			return err
		}
		change := func(target string) error {
			info, err := os.Stat(target)
			if err != nil {
				return relabel(err, name)
			}
			bits, err := newMode(mode, info.Mode())
			if err != nil {
				return err
			}
			return relabel(os.Chmod(target, bits), name)
		}
		if strings.ContainsAny(flags, "R") {
			errs = append(errs, filepath.WalkDir(real, func(target string, _ fs.DirEntry, err error) error {
				return errors.Join(err, change(target))
			}))
			continue
		}
		errs = append(errs, change(real))
	}
	return errors.Join(errs...)
}

// newMode reads octal digits, or a symbolic form such as "u+x,go-w".
func newMode(text string, old fs.FileMode) (fs.FileMode, error) {
	if bits, err := strconv.ParseUint(text, 8, 12); err == nil {
		return fs.FileMode(bits) & fs.ModePerm, nil
	}
	mode := old & fs.ModePerm
	for clause := range strings.SplitSeq(text, ",") {
		at := strings.IndexAny(clause, "+-=")
		if at < 0 {
			return 0, fmt.Errorf("invalid mode: %q", text)
		}
		var who, what fs.FileMode
		for _, letter := range clause[:at] {
			who |= map[rune]fs.FileMode{'u': 0o700, 'g': 0o070, 'o': 0o007, 'a': 0o777}[letter]
		}
		if at == 0 {
			who = 0o777
		}
		for _, letter := range clause[at+1:] {
			bits, ok := map[rune]fs.FileMode{'r': 0o444, 'w': 0o222, 'x': 0o111, 'X': 0o111}[letter]
			if !ok {
				return 0, fmt.Errorf("invalid mode: %q", text)
			}
			what |= bits
		}
		switch clause[at] {
		case '+':
			mode |= who & what
		case '-':
			mode &^= who & what
		case '=':
			mode = mode&^who | who&what
		}
	}
	return mode, nil
}

// exists is what chown and chgrp do here: owners are not kept, since the lab may not run as root.
func (s *Shell) exists(_, _ string, operands []string) error {
	var errs []error
	for _, name := range operands {
		if !s.Disk.Exists(name) {
			errs = append(errs, fmt.Errorf("cannot access '%s': No such file or directory", name))
		}
	}
	return errors.Join(errs...)
}

func (s *Shell) remove(flags string, operands []string) error {
	var errs []error
	for _, name := range operands {
		real, err := s.Disk.RealNoFollow(name)
		if err != nil {
			return err
		}
		info, err := os.Lstat(real)
		switch {
		case errors.Is(err, fs.ErrNotExist) && strings.Contains(flags, "f"):
		case err != nil:
			errs = append(errs, relabel(err, name))
		case info.IsDir() && !strings.ContainsAny(flags, "rR"):
			errs = append(errs, fmt.Errorf("cannot remove '%s': Is a directory", name))
		default:
			errs = append(errs, relabel(os.RemoveAll(real), name))
		}
	}
	return errors.Join(errs...)
}

// targets pairs sources with where they go: into the last operand if that is a directory.
func (s *Shell) targets(operands []string) ([][2]string, error) {
	if len(operands) < 2 {
		return nil, errors.New("missing destination file operand")
	}
	sources, last := operands[:len(operands)-1], operands[len(operands)-1]
	real, err := s.Disk.Real(last)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(real)
	intoDir := err == nil && info.IsDir()
	if len(sources) > 1 && !intoDir {
		return nil, fmt.Errorf("target '%s' is not a directory", last)
	}
	var pairs [][2]string
	for _, source := range sources {
		target := last
		if intoDir {
			target = path.Join(last, path.Base(source))
		}
		pairs = append(pairs, [2]string{source, target})
	}
	return pairs, nil
}

func (s *Shell) move(_ string, operands []string) error {
	pairs, err := s.targets(operands)
	if err != nil {
		return err
	}
	for _, pair := range pairs {
		from, fromErr := s.Disk.RealNoFollow(pair[0])
		to, toErr := s.Disk.RealNoFollow(pair[1])
		if err := errors.Join(fromErr, toErr); err != nil {
			return err
		}
		if err := os.Rename(from, to); err != nil {
			return fmt.Errorf("cannot move '%s' to '%s': %w", pair[0], pair[1], errors.Unwrap(err))
		}
	}
	return nil
}

func (s *Shell) copy(flags string, operands []string) error {
	pairs, err := s.targets(operands)
	if err != nil {
		return err
	}
	for _, pair := range pairs {
		from, fromErr := s.Disk.Real(pair[0])
		to, toErr := s.Disk.Real(pair[1])
		if err := errors.Join(fromErr, toErr); err != nil {
			return err
		}
		info, err := os.Stat(from)
		if err != nil {
			return relabel(err, pair[0])
		}
		if info.IsDir() {
			if !strings.ContainsAny(flags, "rRa") {
				return fmt.Errorf("-r not specified; omitting directory '%s'", pair[0])
			}
			if err := os.CopyFS(to, os.DirFS(from)); err != nil {
				return fmt.Errorf("copying '%s': %w", pair[0], err)
			}
			continue
		}
		content, err := s.Disk.Read(pair[0])
		if err != nil {
			return err
		}
		if _, err := os.Stat(filepath.Dir(to)); err != nil {
			return fmt.Errorf("cannot create '%s': No such file or directory", pair[1])
		}
		if err := s.Disk.Write(pair[1], content, info.Mode().Perm()); err != nil {
			return err
		}
	}
	return nil
}

func (s *Shell) link(_ context.Context, call Call) uint8 {
	flags, operands := letters(call.Args[1:])
	if len(operands) != 2 {
		return report(call, errors.New("want a target and a link name"))
	}
	name := call.Path(operands[1])
	real, err := s.Disk.RealNoFollow(name)
	if err != nil {
		return report(call, err)
	}
	if strings.Contains(flags, "f") {
		if err := os.Remove(real); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return report(call, relabel(err, name))
		}
	}
	if strings.Contains(flags, "s") {
		return report(call, relabel(os.Symlink(operands[0], real), name))
	}
	target, err := s.Disk.Real(call.Path(operands[0]))
	if err == nil {
		err = relabel(os.Link(target, real), name)
	}
	return report(call, err)
}

func (s *Shell) touch(_ string, operands []string) error {
	for _, name := range operands {
		real, err := s.Disk.Real(name)
		if err != nil {
			return err
		}
		file, err := os.OpenFile(real, os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return relabel(err, name)
		}
		now := time.Now()
		if err := errors.Join(file.Close(), os.Chtimes(real, now, now)); err != nil {
			return relabel(err, name)
		}
	}
	return nil
}

func (s *Shell) cat(_ context.Context, call Call) uint8 {
	_, operands := letters(call.Args[1:])
	if len(operands) == 0 {
		_, err := io.Copy(call.Stdout, call.Stdin)
		return report(call, err)
	}
	var errs []error
	for _, name := range operands {
		content, err := s.Disk.Read(call.Path(name))
		if err == nil {
			_, err = call.Stdout.Write(content)
		}
		errs = append(errs, err)
	}
	return report(call, errors.Join(errs...))
}

func (s *Shell) tee(_ context.Context, call Call) uint8 {
	flags, operands := letters(call.Args[1:])
	content, err := io.ReadAll(call.Stdin)
	if err != nil {
		return report(call, err)
	}
	write := s.Disk.Write
	if strings.Contains(flags, "a") {
		write = s.Disk.Append
	}
	_, err = call.Stdout.Write(content)
	errs := []error{err}
	for _, name := range operands {
		errs = append(errs, write(call.Path(name), content, 0o644))
	}
	return report(call, errors.Join(errs...))
}
