// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package hostkey reads the host's WireGuard key from the file that cloud-init wrote. The private key stays in this process: errors never
// quote the file.
package hostkey

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// ErrNoKey is returned when the file holds no private key.
var ErrNoKey = errors.New("no private key")

// File is a host's file with its private key: either the key alone, base64, or VPP's command that makes the tunnel
// (wireguard create ... private-key KEY ...).
type File struct {
	path string

	mu       sync.Mutex
	modified time.Time
	size     int64
	public   string
}

// NewFile names the file; it need not exist yet.
func NewFile(path string) *File { return &File{path: path} }

// PublicKey of the private key in the file, base64; empty, without an error, when there is no file. It is derived again only when the
// file was changed.
func (f *File) PublicKey() (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		f.public = ""
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading the host's key: %w", err)
	}
	if f.public != "" && info.ModTime().Equal(f.modified) && info.Size() == f.size {
		return f.public, nil
	}
	key, err := f.PrivateKey()
	if err != nil {
		return "", err
	}
	f.modified, f.size, f.public = info.ModTime(), info.Size(), key.PublicKey().String()
	return f.public, nil
}

// PrivateKey reads the private key.
func (f *File) PrivateKey() (wgtypes.Key, error) {
	content, err := os.ReadFile(f.path)
	if err != nil {
		return wgtypes.Key{}, fmt.Errorf("reading the host's key: %w", err)
	}
	words := strings.Fields(string(content))
	for i, word := range words {
		if len(words) == 1 || i > 0 && words[i-1] == "private-key" {
			// The error of the parser could quote what it parsed.
			if key, err := wgtypes.ParseKey(word); err == nil {
				return key, nil
			}
		}
	}
	return wgtypes.Key{}, fmt.Errorf("%s: %w", f.path, ErrNoKey)
}
