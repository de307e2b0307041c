// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package apisocket

import (
	"encoding/binary"
	"net"
	"sync"

	"go.fd.io/govpp/api"
	"go.fd.io/govpp/codec"
)

// Client is a connected client of the API.
type Client struct {
	conn  *net.UnixConn
	index uint32
	name  string
	table *Table

	mu     sync.Mutex
	wake   *sync.Cond
	queue  [][]byte
	closed bool
	idle   bool
}

func newClient(conn *net.UnixConn, index uint32, table *Table) *Client {
	c := &Client{conn: conn, index: index, table: table}
	c.wake = sync.NewCond(&c.mu)
	return c
}

// Index of the client: VPP's client_index.
func (c *Client) Index() uint32 {
	return c.index
}

// Event sends a message that nobody asked for at this moment.
func (c *Client) Event(message api.Message) {
	c.send(message, 0)
}

// send queues a message; it never waits for the client. Messages to a client that is gone are dropped.
func (c *Client) send(message api.Message, context uint32) {
	id, err := c.table.id(message)
	if err != nil {
		// A handler that answers with a message which nobody can know is a mistake in the fake.
		panic(err)
	}
	data, err := codec.EncodeMsg(message, id)
	if err != nil {
		panic(err)
	}
	offset := 2
	if message.GetMessageType() == api.RequestMessage {
		offset = 6
	}
	binary.BigEndian.PutUint32(data[offset:], context)
	frame := make([]byte, headerSize, headerSize+len(data))
	binary.BigEndian.PutUint32(frame[lengthOffset:], uint32(len(data)))
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.queue = append(c.queue, append(frame, data...))
		c.wake.Broadcast()
	}
}

// write sends what is queued until the client is closed.
func (c *Client) write() {
	for {
		c.mu.Lock()
		for len(c.queue) == 0 && !c.closed {
			c.idle = true
			c.wake.Broadcast()
			c.wake.Wait()
		}
		if len(c.queue) == 0 {
			c.mu.Unlock()
			return
		}
		frame := c.queue[0]
		c.queue = c.queue[1:]
		c.idle = false
		c.mu.Unlock()
		if _, err := c.conn.Write(frame); err != nil {
			c.close()
			return
		}
	}
}

// drain waits until everything queued is written.
func (c *Client) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.closed && (len(c.queue) > 0 || !c.idle) {
		c.wake.Wait()
	}
}

func (c *Client) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.closed = true
		c.queue = nil
		_ = c.conn.Close()
	}
	c.wake.Broadcast()
}
