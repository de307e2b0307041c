// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package fakevpp

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.fd.io/govpp/binapi/fib_types"
	"go.fd.io/govpp/binapi/interface_types"
)

// cliCommand is a command of the CLI: what it starts with and what it does with the rest.
type cliCommand struct {
	prefix string
	run    func(s *state, args []string) (string, error)
}

// commands of the CLI. The longest prefix that fits is taken.
func commands() []cliCommand {
	return slices.Concat(makes(), settings(), shows())
}

// makes are commands that make and remove things.
func makes() []cliCommand {
	return []cliCommand{
		{"exec", func(s *state, args []string) (string, error) {
			if len(args) != 1 {
				return "", errors.New("a file is missing")
			}
			return s.runFile(args[0])
		}},
		{"wireguard create", (*state).cliCreateTunnel},
		{"wireguard delete", func(s *state, args []string) (string, error) {
			l, err := s.cliLink(args)
			if err != nil {
				return "", err
			}
			if l.tunnel == nil {
				return "", errors.New("wireguard interface delete failed")
			}
			s.removeTunnel(l)
			return "", nil
		}},
		{"wireguard peer add", (*state).cliAddPeer},
		{"wireguard peer remove", func(s *state, args []string) (string, error) {
			if len(args) != 1 {
				return "", errors.New("an index is missing")
			}
			index, err := strconv.ParseUint(args[0], 10, 32)
			if err == nil && s.removePeer(uint32(index)) != 0 {
				err = errors.New("wireguard peer remove failed")
			}
			return "", err
		}},
		{"create host-interface", func(s *state, args []string) (string, error) {
			options := pairs(args)
			if s.hostLink(options["name"]) != nil {
				return "", errors.New("Interface already exists") //nolint:staticcheck // As VPP says it.
			}
			return s.addAFPacket(options["name"]).name + "\n", nil
		}},
		{"ip route add", func(s *state, args []string) (string, error) { return "", s.cliRoute(args, true) }},
		{"ip route del", func(s *state, args []string) (string, error) { return "", s.cliRoute(args, false) }},
		{"comment", func(*state, []string) (string, error) { return "", nil }},
	}
}

// settings are commands that set up interfaces.
func settings() []cliCommand {
	return []cliCommand{
		{"set interface state", func(s *state, args []string) (string, error) {
			l, err := s.cliLink(args)
			if err == nil {
				s.setAdmin(l, args[len(args)-1] == "up")
			}
			return "", err
		}},
		{"set interface ip address", (*state).cliAddress},
		{"set interface unnumbered", (*state).cliUnnumbered},
		{"set interface rx-mode", func(s *state, args []string) (string, error) {
			l, err := s.cliLink(args)
			if err != nil {
				return "", err
			}
			switch args[len(args)-1] {
			case "polling":
				l.rxMode = interface_types.RX_MODE_API_POLLING
			case "adaptive":
				l.rxMode = interface_types.RX_MODE_API_ADAPTIVE
			default:
				l.rxMode = interface_types.RX_MODE_API_INTERRUPT
			}
			return "", nil
		}},
		{"set interface feature gso", func(s *state, args []string) (string, error) {
			return s.cliSwitch(args, (*link).setGSO)
		}},
		{"set cnat feature", func(s *state, args []string) (string, error) {
			return s.cliSwitch(args, (*link).setCNAT)
		}},
		{"set interface mtu", func(s *state, args []string) (string, error) {
			if len(args) < 2 {
				return "", errors.New("MTU and interface are missing")
			}
			mtu, err := strconv.ParseUint(args[len(args)-2], 10, 16)
			if err != nil {
				return "", err
			}
			l, err := s.cliLink(args[len(args)-1:])
			if err == nil {
				l.mtu = uint32(mtu)
			}
			return "", err
		}},
	}
}

// command runs a line of the CLI and returns what it prints.
func (s *state) command(line string) (string, error) {
	fields := strings.Fields(strings.TrimRight(line, "\x00"))
	if len(fields) == 0 {
		return "", nil
	}
	var best cliCommand
	for _, c := range commands() {
		words := strings.Fields(c.prefix)
		if len(words) <= len(fields) && strings.Join(fields[:len(words)], " ") == c.prefix && len(c.prefix) > len(best.prefix) {
			best = c
		}
	}
	if best.run == nil {
		return "", fmt.Errorf("unknown input `%s'", strings.Join(fields, " "))
	}
	output, err := best.run(s, fields[len(strings.Fields(best.prefix)):])
	if err != nil && best.prefix != "exec" {
		err = fmt.Errorf("%s: %w", best.prefix, err)
	}
	return output, err
}

// runFile runs the commands in a file until one fails, as "exec" does.
func (s *state) runFile(path string) (string, error) {
	data, err := os.ReadFile(filepath.Join(s.config.Root, path))
	if err != nil {
		return "", err
	}
	var output strings.Builder
	for line := range bytes.Lines(data) {
		text := strings.TrimSpace(string(line))
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		printed, err := s.command(text)
		output.WriteString(printed)
		if err != nil {
			// The line may hold a key: the error tells its command only.
			return output.String(), fmt.Errorf("exec %s: %w", path, err)
		}
	}
	return output.String(), nil
}

// pairs reads "name value name value".
func pairs(args []string) map[string]string {
	options := map[string]string{}
	for i := 0; i < len(args); i += 2 {
		value := ""
		if i+1 < len(args) {
			value = args[i+1]
		}
		options[args[i]] = value
	}
	return options
}

// cliLink finds the interface that the first argument names.
func (s *state) cliLink(args []string) (*link, error) {
	if len(args) == 0 {
		return nil, errors.New("interface not specified")
	}
	if l := s.linkNamed(args[0]); l != nil {
		return l, nil
	}
	return nil, fmt.Errorf("unknown input '%s'", strings.Join(args, " "))
}

func (s *state) cliSwitch(args []string, set func(*link, bool)) (string, error) {
	l, err := s.cliLink(args)
	if err == nil {
		set(l, len(args) < 2 || args[1] != "disable")
	}
	return "", err
}

func (s *state) cliCreateTunnel(args []string) (string, error) {
	instance, private, port, source := none, Key{}, uint64(0), netip.Addr{}
	var err error
	for i := 0; i < len(args); i++ {
		value := ""
		if i+1 < len(args) {
			value = args[i+1]
		}
		switch args[i] {
		case "generate-key":
			private = generateKey()
			continue
		case "listen-port", "port":
			port, err = strconv.ParseUint(value, 10, 16)
		case "private-key":
			private, err = parseKey(value)
		case "src":
			source, err = netip.ParseAddr(value)
		case "instance":
			var number uint64
			number, err = strconv.ParseUint(value, 10, 32)
			instance = uint32(number)
		default:
			err = errors.New("unknown input")
		}
		if err != nil {
			// Not the value: it may be the key.
			return "", fmt.Errorf("Error parsing %s", strings.ReplaceAll(args[i], "-", " ")) //nolint:staticcheck // As VPP says it.
		}
		i++
	}
	l, retval := s.addTunnel(instance, private, uint16(port), source)
	if retval != 0 {
		return "", errors.New("wireguard interface create failed")
	}
	return l.name + "\n", nil
}

func parseKey(text string) (Key, error) {
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(data) != 32 {
		return Key{}, errors.New("not a key")
	}
	return toKey(data), nil
}

// cliAddress is "set interface ip address [del] <interface> <address/length>".
func (s *state) cliAddress(args []string) (string, error) {
	add := true
	if len(args) > 0 && args[0] == "del" {
		add, args = false, args[1:]
	}
	l, err := s.cliLink(args)
	if err != nil {
		return "", err
	}
	if len(args) < 2 {
		return "", errors.New("expected an address")
	}
	address, err := netip.ParsePrefix(args[1])
	if err != nil {
		return "", fmt.Errorf("expected an address: %w", err)
	}
	if s.setAddress(l, address, add, false) != 0 {
		return "", errors.New("failed")
	}
	return "", nil
}

// cliUnnumbered is "set interface unnumbered <interface> use <interface>" or "... del <interface>".
func (s *state) cliUnnumbered(args []string) (string, error) {
	if len(args) == 2 && args[0] == "del" {
		l, err := s.cliLink(args[1:])
		if err == nil {
			l.borrowed = nil
		}
		return "", err
	}
	if len(args) != 3 || args[1] != "use" {
		return "", errors.New("parse error")
	}
	l, err := s.cliLink(args)
	if err != nil {
		return "", err
	}
	lender, err := s.cliLink(args[2:])
	if err == nil {
		l.borrowed = lender
	}
	return "", err
}

// cliRoute is "ip route add|del [table <id>] <prefix> via ...".
func (s *state) cliRoute(args []string, add bool) error {
	id := uint64(0)
	if len(args) > 2 && args[0] == "table" {
		number, err := strconv.ParseUint(args[1], 10, 32)
		if err != nil {
			return err
		}
		id, args = number, args[2:]
	}
	t := s.tables[uint32(id)]
	if t == nil || len(args) == 0 {
		return errors.New("no such table, or no prefix")
	}
	prefix, err := netip.ParsePrefix(args[0])
	if err != nil {
		return err
	}
	prefix = prefix.Masked()
	if !add {
		if t.routes[prefix] == nil {
			return errors.New("no such route")
		}
		delete(t.routes, prefix)
		return nil
	}
	var way path
	for _, word := range args[1:] {
		switch {
		case word == "via":
		case word == "drop":
			way.kind = fib_types.FIB_API_PATH_TYPE_DROP
		case s.linkNamed(word) != nil:
			way.link = s.linkNamed(word)
		default:
			if way.gateway, err = netip.ParseAddr(word); err != nil {
				return fmt.Errorf("unknown input `%s'", word)
			}
		}
	}
	t.replace(route{prefix: prefix, paths: []path{way}})
	return nil
}
