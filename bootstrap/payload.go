// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// payload is bootstrap data whose kind is known.
type payload struct {
	// contentType as cloud-init would tell it from the first line. Empty for a MIME document, which has headers of its own.
	contentType string
	// content is UTF-8 text and not compressed.
	content []byte
}

const (
	formatIgnition = "ignition"
	// maxUnpacked bounds what compressed bootstrap data may expand to, in bytes.
	maxUnpacked = 16 << 20
	// mimeProbe is how far cloud-init looks for a MIME header (convert_string in cloudinit/user_data.py), in bytes.
	mimeProbe = 4096
)

// contentTypes by how content begins, longest first where one begins with another (INCLUSION_TYPES_MAP in
// cloudinit/handlers/__init__.py).
func contentTypes() []struct{ start, contentType string } {
	return []struct{ start, contentType string }{
		{"## template: jinja", "text/jinja2"},
		{"#cloud-config-archive", "text/cloud-config-archive"},
		{"#cloud-config-jsonp", "text/cloud-config-jsonp"},
		{"#cloud-config", "text/cloud-config"},
		{"#cloud-boothook", "text/cloud-boothook"},
		{"#include-once", "text/x-include-once-url"},
		{"#include", "text/x-include-url"},
		{"#part-handler", "text/part-handler"},
		{"#!", "text/x-shellscript"},
	}
}

// readPayload tells the kind of bootstrap data. Like cloud-init it unpacks gzip first.
func readPayload(in Payload) (payload, error) {
	if strings.EqualFold(in.Format, formatIgnition) {
		return payload{}, fmt.Errorf("%w: the Secret's format is ignition; set format cloud-config in the bootstrap configuration and use an image with cloud-init", ErrFormatUnsupported)
	}
	content, err := unpack(in.Value)
	if err != nil {
		return payload{}, err
	}
	switch {
	case len(bytes.TrimSpace(content)) == 0:
		return payload{}, fmt.Errorf("%w: the key value of the Secret has no content", ErrPayloadEmpty)
	case !utf8.Valid(content):
		return payload{}, fmt.Errorf("%w: it is not UTF-8 text", ErrFormatUnsupported)
	}
	if contentType, known := sniff(content); known {
		return payload{contentType: contentType, content: content}, nil
	}
	if isMIME(content) {
		return payload{content: content}, nil
	}
	if isIgnition(content) {
		return payload{}, fmt.Errorf("%w: it is an Ignition configuration; set format cloud-config in the bootstrap configuration and use an image with cloud-init", ErrFormatUnsupported)
	}
	return payload{}, fmt.Errorf("%w: it begins neither like a MIME document nor with a line that cloud-init knows, such as #cloud-config, #! or ## template: jinja", ErrFormatUnsupported)
}

// unpack undoes gzip.
func unpack(value []byte) ([]byte, error) {
	if !isGzip(value) {
		return value, nil
	}
	reader, err := gzip.NewReader(bytes.NewReader(value))
	if err != nil {
		return nil, fmt.Errorf("%w: it begins like gzip but is not: %w", ErrFormatUnsupported, err)
	}
	content, err := io.ReadAll(io.LimitReader(reader, maxUnpacked+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: its gzip stream is damaged: %w", ErrFormatUnsupported, err)
	case len(content) > maxUnpacked:
		return nil, fmt.Errorf("%w: unpacked it has more than %d bytes", ErrFormatUnsupported, maxUnpacked)
	case isGzip(content):
		return nil, fmt.Errorf("%w: it is gzip inside of gzip, of which cloud-init unpacks one", ErrFormatUnsupported)
	}
	return content, nil
}

func isGzip(content []byte) bool { return bytes.HasPrefix(content, []byte{0x1f, 0x8b}) }

// sniff tells the content type from the first line, as cloud-init does: in any case of letters, after white space.
func sniff(content []byte) (string, bool) {
	const longest = 32
	head := bytes.TrimSpace(content)
	head = bytes.ToLower(head[:min(len(head), longest)])
	for _, known := range contentTypes() {
		if bytes.HasPrefix(head, []byte(known.start)) {
			return known.contentType, true
		}
	}
	return "", false
}

func isMIME(content []byte) bool {
	return bytes.Contains(bytes.ToLower(content[:min(len(content), mimeProbe)]), []byte("mime-version:"))
}

func isIgnition(content []byte) bool {
	var document struct {
		Ignition *json.RawMessage `json:"ignition"`
	}
	err := json.Unmarshal(content, &document)
	if _, mistyped := errors.AsType[*json.UnmarshalTypeError](err); err != nil && !mistyped {
		return false
	}
	return document.Ignition != nil
}
