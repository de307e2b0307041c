// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package cloudinit

import (
	"encoding/base64"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// File is one entry of write_files, decoded.
type File struct {
	// Path is absolute and clean.
	Path    string
	Content []byte
	Mode    fs.FileMode
	// Owner is "user:group".
	Owner  string
	Append bool
	// Defer puts off writing until users and packages are there.
	Defer bool
}

// decodeFiles reads write_files. An entry that cannot be decoded is an error that names its path.
func decodeFiles(value any) ([]File, error) {
	entries, _ := value.([]any)
	files := make([]File, 0, len(entries))
	for i, entry := range entries {
		fields, _ := entry.(map[string]any)
		file, err := decodeFile(fields)
		if err != nil {
			return nil, fmt.Errorf("write_files[%d] %v: %w", i, fields["path"], err)
		}
		files = append(files, file)
	}
	return files, nil
}

func decodeFile(fields map[string]any) (File, error) {
	if _, ok := fields["source"]; ok {
		return File{}, fmt.Errorf("source: the simulated host cannot fetch files from a URI")
	}
	name, _ := fields["path"].(string)
	if !strings.HasPrefix(name, "/") {
		return File{}, fmt.Errorf("path: want an absolute path")
	}
	mode, err := decodeMode(fields["permissions"])
	if err != nil {
		return File{}, err
	}
	content, err := decodeContent(fields)
	if err != nil {
		return File{}, err
	}
	owner, _ := fields["owner"].(string)
	appendTo, _ := fields["append"].(bool)
	deferred, _ := fields["defer"].(bool)
	return File{
		Path: path.Clean(name), Content: content, Mode: mode,
		Owner: firstOf(owner, "root:root"), Append: appendTo, Defer: deferred,
	}, nil
}

// decodeMode reads permissions as cloud-init does: a string is octal, an integer is taken as it is.
func decodeMode(value any) (fs.FileMode, error) {
	var bits int64
	switch typed := value.(type) {
	case nil:
		return 0o644, nil
	case int:
		bits = int64(typed)
	case string:
		parsed, err := strconv.ParseInt(strings.TrimPrefix(typed, "0o"), 8, 32)
		if err != nil {
			return 0, fmt.Errorf("permissions %q: want octal digits such as '0644'", typed)
		}
		bits = parsed
	default:
		return 0, fmt.Errorf("permissions: want a string of octal digits, got %s", kindOf(value))
	}
	if bits < 0 || bits > 0o7777 {
		return 0, fmt.Errorf("permissions %#o: want at most 07777", bits)
	}
	return fs.FileMode(bits & 0o777), nil
}

func decodeContent(fields map[string]any) ([]byte, error) {
	text, _ := fields["content"].(string)
	encoding, _ := fields["encoding"].(string)
	content := []byte(text)
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "text/plain":
		return content, nil
	case "b64", "base64":
		return decodeBase64(text)
	case "gz", "gzip":
		return gunzip(content)
	case "gz+base64", "gzip+base64", "gz+b64", "gzip+b64":
		packed, err := decodeBase64(text)
		if err != nil {
			return nil, err
		}
		return gunzip(packed)
	default:
		return nil, fmt.Errorf("encoding %q: want text/plain, b64, gzip or gz+b64", encoding)
	}
}

// decodeBase64 ignores line breaks and blanks, as Python's decoder does.
func decodeBase64(text string) ([]byte, error) {
	content, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return nil, fmt.Errorf("content is not valid base64: %w", err)
	}
	return content, nil
}
