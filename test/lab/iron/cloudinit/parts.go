// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package cloudinit

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"slices"
	"strings"
)

// Content types of parts that cloud-init handles.
const (
	typeCloudConfig = "text/cloud-config"
	typeArchive     = "text/cloud-config-archive"
	typeJSONPatch   = "text/cloud-config-jsonp"
	typeJinja       = "text/jinja2"
	typeShellScript = "text/x-shellscript"
	typeBoothook    = "text/cloud-boothook"
	typePlain       = "text/plain"
	typeUnknown     = "text/x-not-multipart"
)

// maxUnpacked bounds what a gzip stream may expand to, so that a bomb cannot take the lab down.
const maxUnpacked = 64 << 20

// maxNesting bounds MIME multi-parts within multi-parts.
const maxNesting = 8

// part is one leaf of the user data: not a container, decoded and unpacked.
type part struct {
	name        string
	contentType string
	mergeType   string
	body        []byte
}

// split takes user data apart into its leaves, in order.
func split(userData []byte) ([]part, error) {
	plain, err := gunzipIfNeeded(userData)
	if err != nil {
		return nil, fmt.Errorf("unpacking user data: %w", err)
	}
	head := bytes.ToLower(plain[:min(len(plain), 4096)])
	if !bytes.Contains(head, []byte("mime-version:")) {
		return leaf(part{contentType: typeUnknown, body: plain}, 0)
	}
	message, err := mail.ReadMessage(bytes.NewReader(plain))
	if err != nil {
		return nil, fmt.Errorf("user data has a mime-version header but is no MIME message: %w", err)
	}
	parts, err := walk(textproto.MIMEHeader(message.Header), message.Body, 0)
	if err != nil {
		return nil, err
	}
	for i := range parts {
		if parts[i].name == "" {
			parts[i].name = fmt.Sprintf("part-%03d", i+1)
		}
	}
	return parts, nil
}

// walk reads one MIME entity: a container's children, or a leaf.
func walk(header textproto.MIMEHeader, body io.Reader, depth int) ([]part, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("MIME parts are nested deeper than %d", maxNesting)
	}
	contentType, params, err := mediaType(header)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(contentType, "multipart/") {
		return walkContainer(body, params["boundary"], depth)
	}
	decoded, err := decodeTransfer(header.Get("Content-Transfer-Encoding"), body)
	if err != nil {
		return nil, fmt.Errorf("decoding a part of type %s: %w", contentType, err)
	}
	leafPart := part{
		name:        fileName(header),
		contentType: contentType,
		mergeType:   firstOf(header.Get("Merge-Type"), header.Get("X-Merge-Type")),
		body:        decoded,
	}
	return leaf(leafPart, depth)
}

func walkContainer(body io.Reader, boundary string, depth int) ([]part, error) {
	if boundary == "" {
		return nil, fmt.Errorf("a multipart container has no boundary parameter")
	}
	var parts []part
	reader := multipart.NewReader(body, boundary)
	for {
		// Not NextPart: that one would undo quoted-printable behind our back.
		child, err := reader.NextRawPart()
		if errors.Is(err, io.EOF) {
			return parts, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading MIME part %d: %w", len(parts)+1, err)
		}
		leaves, err := walk(child.Header, child, depth+1)
		if err != nil {
			return nil, err
		}
		parts = append(parts, leaves...)
	}
}

// leaf settles the type of a part from its content where the declared type does not tell, and opens archives.
func leaf(p part, depth int) ([]part, error) {
	declared := p.contentType
	if isGzipType(declared) {
		body, err := gunzip(p.body)
		if err != nil {
			return nil, fmt.Errorf("part of type %s: %w", declared, err)
		}
		p.body, declared = body, typePlain
	}
	if slices.Contains([]string{typePlain, typeUnknown, typeShellScript}, declared) {
		p.contentType = firstOf(sniff(p.body), declared)
	}
	if p.contentType != typeArchive {
		return []part{p}, nil
	}
	return openArchive(p, depth)
}

// openArchive reads a #cloud-config-archive: a YAML list of parts.
func openArchive(p part, depth int) ([]part, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("archives are nested deeper than %d", maxNesting)
	}
	value, err := parseYAML(p.body)
	if err != nil {
		return nil, fmt.Errorf("cloud-config archive: %w", err)
	}
	entries, ok := value.([]any)
	if !ok {
		return nil, fmt.Errorf("cloud-config archive: want a list of parts, got %s", kindOf(value))
	}
	var parts []part
	for i, entry := range entries {
		child, err := archiveEntry(entry)
		if err != nil {
			return nil, fmt.Errorf("cloud-config archive, entry %d: %w", i+1, err)
		}
		leaves, err := leaf(child, depth+1)
		if err != nil {
			return nil, err
		}
		parts = append(parts, leaves...)
	}
	return parts, nil
}

func archiveEntry(entry any) (part, error) {
	if text, ok := entry.(string); ok {
		entry = map[string]any{"content": text}
	}
	fields, ok := entry.(map[string]any)
	if !ok {
		return part{}, fmt.Errorf("want a string or a mapping, got %s", kindOf(entry))
	}
	content, ok := fields["content"].(string)
	if !ok {
		return part{}, fmt.Errorf("content: want a string, got %s", kindOf(fields["content"]))
	}
	declared, _ := fields["type"].(string)
	name, _ := fields["filename"].(string)
	return part{
		name:        name,
		contentType: firstOf(declared, sniff([]byte(content)), typeCloudConfig),
		body:        []byte(content),
	}, nil
}

// sniff tells a part's type from its first bytes, or returns "" when they say nothing.
func sniff(body []byte) string {
	// Longest prefix first: "#cloud-config" begins "#cloud-config-archive" too.
	prefixes := [][2]string{
		{"#cloud-config-archive", typeArchive},
		{"#cloud-config-jsonp", typeJSONPatch},
		{"## template: jinja", typeJinja},
		{"#cloud-boothook", typeBoothook},
		{"#include-once", "text/x-include-once-url"},
		{"#cloud-config", typeCloudConfig},
		{"#part-handler", "text/part-handler"},
		{"#include", "text/x-include-url"},
		{"#!", typeShellScript},
	}
	head := strings.ToLower(strings.TrimLeft(string(body[:min(len(body), 1024)]), " \t\r\n\v\f"))
	for _, prefix := range prefixes {
		if strings.HasPrefix(head, prefix[0]) {
			return prefix[1]
		}
	}
	return ""
}

func mediaType(header textproto.MIMEHeader) (string, map[string]string, error) {
	declared := header.Get("Content-Type")
	if declared == "" {
		return typePlain, nil, nil
	}
	contentType, params, err := mime.ParseMediaType(declared)
	if err != nil {
		return "", nil, fmt.Errorf("content type %q: %w", declared, err)
	}
	return contentType, params, nil
}

func fileName(header textproto.MIMEHeader) string {
	_, params, err := mime.ParseMediaType(header.Get("Content-Disposition"))
	if err != nil {
		return ""
	}
	return params["filename"]
}

func decodeTransfer(encoding string, body io.Reader) ([]byte, error) {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "7bit", "8bit", "binary":
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	default:
		return nil, fmt.Errorf("unknown transfer encoding %q", encoding)
	}
	return io.ReadAll(io.LimitReader(body, maxUnpacked))
}

func isGzipType(contentType string) bool {
	return slices.Contains([]string{
		"application/gzip", "application/gzip-compressed", "application/gzipped", "application/x-compress",
		"application/x-compressed", "application/x-gunzip", "application/x-gzip", "application/x-gzip-compressed",
	}, contentType)
}

func gunzipIfNeeded(data []byte) ([]byte, error) {
	if !bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		return data, nil
	}
	return gunzip(data)
}

func gunzip(data []byte) ([]byte, error) {
	reader, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("reading gzip: %w", err)
	}
	plain, err := io.ReadAll(io.LimitReader(reader, maxUnpacked+1))
	if err != nil {
		return nil, fmt.Errorf("reading gzip: %w", err)
	}
	if len(plain) > maxUnpacked {
		return nil, fmt.Errorf("gzip expands to more than %d bytes", maxUnpacked)
	}
	return plain, nil
}

func firstOf(candidates ...string) string {
	for _, candidate := range candidates {
		if candidate != "" {
			return candidate
		}
	}
	return ""
}
