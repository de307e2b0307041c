// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package apisocket

import (
	"fmt"
	"reflect"

	"go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/memclnt"
)

// createID is the one fixed message number: that of sockclnt_create, which clients send before they have the table
// (vpp/src/vlibmemory/socket_api.c; govpp adapter/socketclient).
const createID = 15

// Table numbers messages, as VPP does when its plugins load. A client finds the number by the name and the CRC of the message's
// definition.
type Table struct {
	ids   map[string]uint16
	types map[uint16]reflect.Type
	// crcs replaces the CRC under which a message is announced, by name.
	crcs map[string]string
}

// NewTable numbers the messages in their order.
func NewTable(messages []api.Message) *Table {
	t := &Table{ids: map[string]uint16{}, types: map[uint16]reflect.Type{}, crcs: map[string]string{}}
	t.add(&memclnt.SockclntCreate{}, createID)
	next := uint16(createID + 1)
	for _, message := range messages {
		if _, known := t.ids[message.GetMessageName()]; known {
			continue
		}
		t.add(message, next)
		next++
	}
	return t
}

func (t *Table) add(message api.Message, id uint16) {
	t.ids[message.GetMessageName()] = id
	t.types[id] = reflect.TypeOf(message).Elem()
}

// WithCRC is a copy of the table that announces a message under another CRC: another version of VPP.
func (t *Table) WithCRC(name, crc string) *Table {
	changed := &Table{ids: t.ids, types: t.types, crcs: map[string]string{name: crc}}
	for other, value := range t.crcs {
		if other != name {
			changed.crcs[other] = value
		}
	}
	return changed
}

// message makes an empty message with the number; nil when there is none.
func (t *Table) message(id uint16) api.Message {
	kind, known := t.types[id]
	if !known {
		return nil
	}
	message, _ := reflect.TypeAssert[api.Message](reflect.New(kind))
	return message
}

// id of a message to send.
func (t *Table) id(message api.Message) (uint16, error) {
	id, known := t.ids[message.GetMessageName()]
	if !known {
		return 0, fmt.Errorf("no message %s in the table", message.GetMessageName())
	}
	return id, nil
}

// New makes an empty message with the name; nil when there is none.
func (t *Table) New(name string) api.Message {
	id, known := t.ids[name]
	if !known {
		return nil
	}
	return t.message(id)
}

// entries is the table as sockclnt_create_reply carries it.
func (t *Table) entries() []memclnt.MessageTableEntry {
	entries := make([]memclnt.MessageTableEntry, 0, len(t.ids))
	for name, id := range t.ids {
		crc := t.message(id).GetCrcString()
		if changed, is := t.crcs[name]; is {
			crc = changed
		}
		entries = append(entries, memclnt.MessageTableEntry{Index: id, Name: name + "_" + crc})
	}
	return entries
}
