// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package apisocket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/memclnt"
	"go.fd.io/govpp/codec"
)

// Every message is preceded by msgbuf_t (vpp/src/vlibmemory/vl_memory_api_h.h): 8 bytes of queue, the length of the message, 4 bytes of
// a mark; big endian.
const (
	headerSize   = 16
	lengthOffset = 8
	// maxMessage bounds what a client may send: VPP's own input buffer is of this order.
	maxMessage = 1 << 20
)

// Handler answers requests.
type Handler interface {
	// Handle answers a request of the client with any number of messages, which carry the request's context. Requests of all clients
	// come concurrently.
	Handle(client *Client, request api.Message) []api.Message
	// Closed tells that the client is gone.
	Closed(client *Client)
}

// Server serves one socket.
type Server struct {
	listener *net.UnixListener
	table    *Table
	handler  Handler

	mu      sync.Mutex
	clients map[uint32]*Client
	next    uint32
	closed  bool

	group sync.WaitGroup
}

// Listen serves the socket at the path; a stale socket there is replaced.
func Listen(path string, table *Table, handler Handler) (*Server, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove the stale API socket: %w", err)
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on the API socket: %w", err)
	}
	s := &Server{listener: listener, table: table, handler: handler, clients: map[uint32]*Client{}}
	s.group.Go(s.accept)
	return s, nil
}

// Close ends all connections and removes the socket.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	_ = s.listener.Close()
	for _, client := range s.clients {
		client.close()
	}
	s.mu.Unlock()
	s.group.Wait()
}

func (s *Server) accept() {
	for {
		conn, err := s.listener.AcceptUnix()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			_ = conn.Close()
			return
		}
		s.next++
		client := newClient(conn, s.next, s.table)
		s.clients[client.index] = client
		s.mu.Unlock()
		s.group.Go(client.write)
		s.group.Go(func() {
			s.serve(client)
			s.mu.Lock()
			delete(s.clients, client.index)
			s.mu.Unlock()
			s.handler.Closed(client)
		})
	}
}

// serve reads the client's messages until it goes away or says goodbye.
func (s *Server) serve(client *Client) {
	defer client.close()
	for {
		frame, err := readFrame(client.conn)
		if err != nil {
			return
		}
		message := s.table.message(binary.BigEndian.Uint16(frame))
		if message == nil {
			return
		}
		if err := codec.DecodeMsg(frame, message); err != nil {
			return
		}
		context := contextOf(message, frame)
		switch request := message.(type) {
		case *memclnt.SockclntCreate:
			client.name = request.Name
			client.send(&memclnt.SockclntCreateReply{Index: client.index, MessageTable: s.table.entries()}, context)
			continue
		case *memclnt.SockclntDelete:
			client.send(&memclnt.SockclntDeleteReply{}, context)
			client.drain()
			return
		}
		for _, reply := range s.handler.Handle(client, message) {
			client.send(reply, context)
		}
	}
}

// contextOf is the number by which a client knows the answers to its request.
func contextOf(message api.Message, frame []byte) uint32 {
	if message.GetMessageType() == api.RequestMessage {
		return binary.BigEndian.Uint32(frame[6:])
	}
	return binary.BigEndian.Uint32(frame[2:])
}

func readFrame(r io.Reader) ([]byte, error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint32(header[lengthOffset:])
	if length < 6 || length > maxMessage {
		return nil, fmt.Errorf("a message of %d bytes", length)
	}
	frame := make([]byte, length)
	_, err := io.ReadFull(r, frame)
	return frame, err
}
