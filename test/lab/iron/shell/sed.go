// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package shell

import (
	"bytes"
	"context"
	"os/exec"
	"strings"
)

// sed has the sed of this machine edit what the simulated host's files hold. It gets the text on its standard input and, with
// --sandbox, may touch no file itself.
func (s *Shell) sed(ctx context.Context, call Call) uint8 {
	options, names, inPlace := sedArguments(call.Args[1:])
	if !inPlace {
		input, err := s.inputs(call, names)
		if err != nil {
			return report(call, err)
		}
		edited, status := runSed(ctx, call, options, input)
		if _, err := call.Stdout.Write(edited); err != nil {
			return report(call, err)
		}
		return status
	}
	for _, name := range names {
		input, err := s.Disk.Read(call.Path(name))
		if err != nil {
			return report(call, err)
		}
		mode, err := s.Disk.Mode(call.Path(name))
		if err != nil {
			return report(call, err)
		}
		edited, status := runSed(ctx, call, options, input)
		if status != 0 {
			return status
		}
		if err := s.Disk.Write(call.Path(name), edited, mode); err != nil {
			return report(call, err)
		}
	}
	return 0
}

// sedArguments separates options and scripts from file names.
func sedArguments(args []string) (options, names []string, inPlace bool) {
	scripted := false
	for i := 0; i < len(args); i++ {
		switch arg := args[i]; {
		case strings.HasPrefix(arg, "-i"), strings.HasPrefix(arg, "--in-place"):
			inPlace = true
		case arg == "-e" && i+1 < len(args):
			options = append(options, arg, args[i+1])
			i++
			scripted = true
		case strings.HasPrefix(arg, "-") && len(arg) > 1:
			options = append(options, arg)
		case !scripted:
			options = append(options, "-e", arg)
			scripted = true
		default:
			names = append(names, arg)
		}
	}
	return options, names, inPlace
}

func runSed(ctx context.Context, call Call, options []string, input []byte) ([]byte, uint8) {
	command := exec.CommandContext(ctx, "sed", append([]string{"--sandbox"}, options...)...)
	var edited bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = bytes.NewReader(input), &edited, call.Stderr
	if err := command.Run(); err != nil {
		return nil, report(call, err)
	}
	return edited.Bytes(), 0
}
