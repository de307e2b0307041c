// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package control

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/fakevpp"
)

// Client steers the fake VPP behind a control socket.
type Client struct {
	http *http.Client
}

// NewClient makes a client of the control socket at the path.
func NewClient(path string) *Client {
	return &Client{http: &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}}
}

// Send takes a packet through the fake.
func (c *Client) Send(ctx context.Context, p fakevpp.Packet) (fakevpp.Verdict, error) {
	return ask[fakevpp.Verdict](ctx, c, sendPath, p)
}

// Sent counts the packets of Send since VPP started.
func (c *Client) Sent(ctx context.Context) (map[fakevpp.Outcome]uint64, error) {
	return ask[map[fakevpp.Outcome]uint64](ctx, c, sentPath, struct{}{})
}

// Restart stops VPP and starts it with nothing but its configuration.
func (c *Client) Restart(ctx context.Context) error {
	_, err := ask[struct{}](ctx, c, restartPath, struct{}{})
	return err
}

// CLI runs a command. Its output may hold private keys, as VPP's does.
func (c *Client) CLI(ctx context.Context, command string) (string, error) {
	return ask[string](ctx, c, cliPath, command)
}

// Fault breaks or mends something.
func (c *Client) Fault(ctx context.Context, f Fault) error {
	_, err := ask[struct{}](ctx, c, faultPath, f)
	return err
}

func ask[A any](ctx context.Context, c *Client, path string, question any) (A, error) {
	var reply A
	body, err := json.Marshal(question)
	if err != nil {
		return reply, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://fakevpp"+path, bytes.NewReader(body))
	if err != nil {
		return reply, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return reply, fmt.Errorf("ask the fake VPP: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(response.Body)
		return reply, fmt.Errorf("the fake VPP refuses %s: %s", path, strings.TrimSpace(string(text)))
	}
	if err := json.NewDecoder(response.Body).Decode(&reply); err != nil {
		return reply, fmt.Errorf("read the fake VPP's answer: %w", err)
	}
	return reply, nil
}
