// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/agent"
)

// errNotEncrypted ends `status` when the node is not encrypted, so that scripts need not read what it prints.
var errNotEncrypted = errors.New("not encrypted")

// printStatus is the command status.
func printStatus(ctx context.Context, args []string, out io.Writer) error {
	var output, runDir string
	flags := pflag.NewFlagSet("edge-agent status", pflag.ContinueOnError)
	flags.StringVarP(&output, "output", "o", "text", "text or json.")
	addRunDir(flags, &runDir)
	if err := flags.Parse(args); err != nil {
		return err
	}
	status, err := agent.FetchStatus(ctx, statusSocket(runDir))
	if err != nil {
		return err
	}
	switch output {
	case "json":
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(status)
	case "text":
		err = writeText(out, status, time.Now())
	default:
		return fmt.Errorf("--output=%s: must be text or json", output)
	}
	if err == nil && !status.Verdict.Encrypted {
		err = errNotEncrypted
	}
	return err
}

// writeText prints the status for people.
func writeText(out io.Writer, s *agent.Status, now time.Time) error {
	w := &strings.Builder{}
	verdict := "ENCRYPTED"
	if !s.Verdict.Encrypted {
		verdict = "NOT ENCRYPTED (" + s.Verdict.Reason + ")"
	}
	fmt.Fprintf(w, "Node %s (%s): %s, %s %s, seen %s ago\n", s.Node, s.Address, verdict, s.Protocol, s.Mode, now.Sub(s.ObservedAt).Round(time.Second))
	if s.Verdict.Encrypted {
		fmt.Fprintf(w, "%s\n", s.Verdict.Message)
	}
	for _, finding := range s.Verdict.Missing {
		fmt.Fprintf(w, "  %s: %s\n", finding.Reason, finding.Message)
	}
	fmt.Fprintln(w)
	for _, t := range s.Tunnels {
		state := "down"
		if t.Up {
			state = "up"
		}
		fmt.Fprintf(w, "Tunnel    %s %s, port %d, key %s, received %s, sent %s\n", t.Name, state, t.Port, orDash(t.PublicKey), size(t.RxBytes), size(t.TxBytes))
	}
	writeGuard(w, s)
	if s.Hugepages != nil {
		before := "unknown"
		if s.Hugepages.Before != nil {
			before = fmt.Sprint(*s.Hugepages.Before)
		}
		fmt.Fprintf(w, "Hugepages %d reserved, %s before VPP, VPP's pages %s\n", s.Hugepages.Now, before, size(uint64(max(0, s.Hugepages.VPPPageSize))))
	}
	for _, stray := range s.Verdict.Strays {
		session := "no session"
		if stray.Established {
			session = "a session"
		}
		fmt.Fprintf(w, "Stray     peer of %s without a Node, at %s, %s, key %s\n", stray.Tunnel, orDash(stray.Endpoint), session, stray.PublicKey)
	}
	writePeers(w, s)
	_, err := io.WriteString(out, w.String())
	return err
}

func writeGuard(w io.Writer, s *agent.Status) {
	state := "not in force"
	switch {
	case s.Guard.InForce:
		state = "in force on " + s.Uplink
	case s.Mode != encryption.ModeRequired:
		state = "not asked for"
	case s.Guard.Problem != "":
		state += ": " + s.Guard.Problem
	}
	var drops []string
	for _, drop := range s.Guard.Drops {
		drops = append(drops, fmt.Sprintf("%s %d", drop.Rule, drop.Packets))
	}
	if len(drops) > 0 {
		state += "; packets dropped: " + strings.Join(drops, ", ")
	}
	fmt.Fprintf(w, "Guard     %s\n", state)
}

func writePeers(w io.Writer, s *agent.Status) {
	if len(s.Verdict.Peers) == 0 {
		return
	}
	fmt.Fprintln(w)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "PEER\tADDRESS\tSTATE\tREASON\tHANDSHAKE\tRECEIVED\tSENT\tKEY")
	for _, p := range s.Verdict.Peers {
		handshake, received, sent := "-", "-", "-"
		if p.HandshakeAge != encryption.HandshakeUnknown {
			handshake = (time.Duration(p.HandshakeAge) * time.Second).String() + " ago"
		}
		if s.Backend == encryption.Kernel {
			received, sent = size(p.RxBytes), size(p.TxBytes)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", p.Node, orDash(p.Address), p.State, orDash(p.Reason), handshake, received, sent, orDash(p.PublicKey))
	}
	_ = table.Flush()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// size writes bytes for people.
func size(bytes uint64) string {
	const step = 1024
	if bytes < step {
		return fmt.Sprintf("%d B", bytes)
	}
	value, unit := float64(bytes), 0
	for value >= step && unit < 4 {
		value /= step
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", value, "BKMGT"[unit])
}
