// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package shell

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/rootfs"
)

// Exit statuses of a shell.
const (
	statusUsage      = 2
	statusNotRunable = 126
	statusNotFound   = 127
)

// Call is one run of a program.
type Call struct {
	// Args hold the program's name first.
	Args []string
	// Dir is the host's working directory.
	Dir    string
	Env    map[string]string
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
}

// Path is a path argument made absolute.
func (c Call) Path(name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join(c.Dir, name)
}

// Program is a program of the host. It returns its exit status; messages go to the call's writers.
type Program func(ctx context.Context, call Call) uint8

// Shell is a host's shell.
type Shell struct {
	Disk rootfs.FS
	// Programs by name, beside those of the shell itself (Builtin) and scripts on the disk.
	Programs map[string]Program
	// Output takes what scripts print.
	Output io.Writer
}

// Run runs a script with the interpreter that its first line names, the POSIX shell by default, and returns
// its exit status. The error tells that the script could not be run to its end at all.
func (s *Shell) Run(ctx context.Context, name string, script []byte, env map[string]string) (uint8, error) {
	call := Call{
		Args: []string{name}, Dir: "/", Env: env, Stdin: bytes.NewReader(nil), Stdout: s.Output, Stderr: s.Output,
	}
	return s.script(ctx, call, script)
}

// Exec runs one program, given as words.
func (s *Shell) Exec(ctx context.Context, args []string, env map[string]string) uint8 {
	return s.exec(ctx, Call{
		Args: args, Dir: "/", Env: env, Stdin: bytes.NewReader(nil), Stdout: s.Output, Stderr: s.Output,
	})
}

// script runs a script's text; call.Args are its name and its parameters.
func (s *Shell) script(ctx context.Context, call Call, text []byte) (uint8, error) {
	interpreter, ok := interpreterOf(text)
	if !ok {
		fmt.Fprintf(call.Stderr, "%s: interpreter %q is not on this host\n", call.Args[0], interpreter)
		return statusNotFound, nil
	}
	return s.interpret(ctx, call, text, variantOf(interpreter))
}

func (s *Shell) interpret(ctx context.Context, call Call, text []byte, variant syntax.LangVariant) (uint8, error) {
	file, err := syntax.NewParser(syntax.Variant(variant)).Parse(bytes.NewReader(text), call.Args[0])
	if err != nil {
		fmt.Fprintf(call.Stderr, "%s\n", err)
		return statusUsage, nil
	}
	runner, err := interp.New(
		interp.Env(expand.ListEnviron(environ(call.Env)...)),
		interp.Dir("/"),
		interp.Params(append([]string{"--"}, call.Args[1:]...)...),
		interp.StdIO(call.Stdin, call.Stdout, call.Stderr),
		interp.OpenHandler(s.open),
		interp.StatHandler(s.stat),
		interp.AccessHandler(s.access),
		interp.ReadDirHandler2(s.readDir),
		interp.ExecHandler(s.execHandler),
	)
	if err != nil {
		return 0, fmt.Errorf("starting the shell for %s: %w", call.Args[0], err)
	}
	runner.Reset()
	runner.Dir = call.Dir
	err = runner.Run(ctx, file)
	if status, ok := errors.AsType[interp.ExitStatus](err); ok {
		return uint8(status), nil
	}
	if err != nil {
		return 0, fmt.Errorf("running %s: %w", call.Args[0], err)
	}
	return 0, nil
}

func (s *Shell) execHandler(ctx context.Context, args []string) error {
	handler := interp.HandlerCtx(ctx)
	env := map[string]string{}
	for name, variable := range handler.Env.Each {
		if variable.Exported {
			env[name] = variable.String()
		}
	}
	status := s.exec(ctx, Call{
		Args: args, Dir: handler.Dir, Env: env, Stdin: handler.Stdin, Stdout: handler.Stdout, Stderr: handler.Stderr,
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if status != 0 {
		return interp.ExitStatus(status)
	}
	return nil
}

// exec finds the program: by path on the disk, or by name among the host's programs and then on the disk.
func (s *Shell) exec(ctx context.Context, call Call) uint8 {
	name := call.Args[0]
	inBinDir := slices.Contains(binDirs(), path.Dir(name))
	if strings.Contains(name, "/") {
		if status, found := s.execFile(ctx, call, call.Path(name)); found {
			return status
		}
	}
	if !strings.Contains(name, "/") || inBinDir {
		if program, ok := s.program(path.Base(name)); ok {
			return program(ctx, call)
		}
	}
	if !strings.Contains(name, "/") {
		for _, dir := range binDirs() {
			if status, found := s.execFile(ctx, call, dir+"/"+name); found {
				return status
			}
		}
	}
	fmt.Fprintf(call.Stderr, "%s: not found\n", name)
	return statusNotFound
}

func binDirs() []string {
	return []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}
}

func (s *Shell) program(name string) (Program, bool) {
	if program, ok := s.Programs[name]; ok {
		return program, true
	}
	program, ok := s.builtin()[name]
	return program, ok
}

// execFile runs a script of the disk, if it is there.
func (s *Shell) execFile(ctx context.Context, call Call, name string) (uint8, bool) {
	real, err := s.Disk.Real(name)
	if err != nil {
		return 0, false
	}
	info, err := os.Stat(real)
	if err != nil {
		return 0, false
	}
	if info.IsDir() || info.Mode()&0o111 == 0 {
		fmt.Fprintf(call.Stderr, "%s: Permission denied\n", name)
		return statusNotRunable, true
	}
	text, err := s.Disk.Read(name)
	if err != nil {
		fmt.Fprintf(call.Stderr, "%s: %v\n", name, err)
		return statusNotRunable, true
	}
	return s.finish(call, func() (uint8, error) { return s.script(ctx, call, text) }), true
}

func (s *Shell) finish(call Call, run func() (uint8, error)) uint8 {
	status, err := run()
	if err != nil {
		fmt.Fprintf(call.Stderr, "%v\n", err)
		return 1
	}
	return status
}

// interpreterOf is what a script's "#!" line names; ok tells that the host has it.
func interpreterOf(text []byte) (string, bool) {
	line, _, _ := strings.Cut(string(text), "\n")
	rest, ok := strings.CutPrefix(line, "#!")
	if !ok {
		return "sh", true
	}
	words := strings.Fields(rest)
	if len(words) > 1 && path.Base(words[0]) == "env" {
		words = words[1:]
	}
	if len(words) == 0 {
		return "sh", true
	}
	name := path.Base(words[0])
	return name, slices.Contains([]string{"sh", "dash", "bash"}, name)
}

func variantOf(interpreter string) syntax.LangVariant {
	if interpreter == "bash" {
		return syntax.LangBash
	}
	return syntax.LangPOSIX
}

func environ(env map[string]string) []string {
	merged := map[string]string{
		"PATH": strings.Join(binDirs(), ":"), "HOME": "/root", "USER": "root", "LOGNAME": "root", "UID": "0", "EUID": "0", "GID": "0",
	}
	maps.Copy(merged, env)
	var list []string
	for _, name := range slices.Sorted(maps.Keys(merged)) {
		list = append(list, name+"="+merged[name])
	}
	return list
}

func (s *Shell) open(ctx context.Context, name string, flag int, perm fs.FileMode) (io.ReadWriteCloser, error) {
	name = absolute(ctx, name)
	if name == "/dev/null" {
		return nowhere{}, nil
	}
	real, err := s.Disk.Real(name)
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(real, flag, perm)
	if err != nil {
		return nil, relabel(err, name)
	}
	return file, nil
}

func (s *Shell) stat(ctx context.Context, name string, followSymlinks bool) (fs.FileInfo, error) {
	name = absolute(ctx, name)
	find, stat := s.Disk.Real, os.Stat
	if !followSymlinks {
		find, stat = s.Disk.RealNoFollow, os.Lstat
	}
	real, err := find(name)
	if err != nil {
		return nil, err
	}
	info, err := stat(real)
	if err != nil {
		return nil, relabel(err, name)
	}
	return info, nil
}

// access answers for root: everything is readable and writable, and executable if anybody may execute it.
func (s *Shell) access(ctx context.Context, name string, mode interp.AccessMode) error {
	info, err := s.stat(ctx, name, true)
	if err != nil {
		return err
	}
	if mode == interp.AccessExec && info.Mode()&0o111 == 0 {
		return fs.ErrPermission
	}
	return nil
}

func (s *Shell) readDir(ctx context.Context, name string) ([]fs.DirEntry, error) {
	name = absolute(ctx, name)
	real, err := s.Disk.Real(name)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(real)
	if err != nil {
		return nil, relabel(err, name)
	}
	return entries, nil
}

func absolute(ctx context.Context, name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join(interp.HandlerCtx(ctx).Dir, name)
}

// relabel puts the host's path into an error in place of the real one.
func relabel(err error, name string) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return &fs.PathError{Op: pathErr.Op, Path: name, Err: pathErr.Err}
	}
	return err
}

// nowhere is /dev/null.
type nowhere struct{}

func (nowhere) Read([]byte) (int, error)    { return 0, io.EOF }
func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (nowhere) Close() error                { return nil }
