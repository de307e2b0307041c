// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"time"
)

// commandTimeout is how long QEMU's monitor may take to answer.
const commandTimeout = 30 * time.Second

// session is a connection in the protocol that QEMU's monitor and the guest agent share: JSON objects, commands
// there and answers back.
type session struct {
	conn   net.Conn
	reader *bufio.Reader
	stop   func() bool
}

// answer is one object from the other side. Events, which only the monitor sends, have neither field.
type answer struct {
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Class       string `json:"class"`
		Description string `json:"desc"`
	} `json:"error"`
}

// open connects to a socket in a machine's directory, however long that one's path is. The connection ends with
// the context.
func open(ctx context.Context, dir, name string) (*session, error) {
	folder, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), name))
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	return &session{conn: conn, reader: bufio.NewReader(conn), stop: stop}, nil
}

func (s *session) close() {
	s.stop()
	_ = s.conn.Close()
}

// call sends a command and decodes what it returns into the value, unless that is nil.
func (s *session) call(command string, arguments map[string]any, into any) error {
	request := map[string]any{"execute": command}
	if arguments != nil {
		request["arguments"] = arguments
	}
	content, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", command, err)
	}
	if _, err := s.conn.Write(append(content, '\n')); err != nil {
		return err
	}
	for {
		line, err := s.reader.ReadBytes('\n')
		if err != nil {
			return err
		}
		var got answer
		if err := json.Unmarshal(line, &got); err != nil {
			return fmt.Errorf("%s: the answer is not JSON: %w", command, err)
		}
		switch {
		case got.Error != nil:
			return fmt.Errorf("%s: %s", command, got.Error.Description)
		case got.Return == nil:
			continue
		case into == nil:
			return nil
		default:
			return json.Unmarshal(got.Return, into)
		}
	}
}

// command has QEMU's monitor do something.
func (u *unit) command(ctx context.Context, command string, arguments map[string]any) error {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	s, err := open(ctx, u.dir, monitorName)
	if err == nil {
		defer s.close()
		err = s.call("qmp_capabilities", nil, nil)
	}
	if err == nil {
		err = s.call(command, arguments, nil)
	}
	if err != nil {
		return fmt.Errorf("the monitor of machine %s: %w", u.key, err)
	}
	return nil
}
