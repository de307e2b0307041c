// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package hostkey

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

func TestPublicKey(t *testing.T) {
	key, err := wgtypes.GeneratePrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	public := key.PublicKey().String()
	for _, c := range []struct {
		name, content, want string
		err                 error
	}{
		{"the key alone", key.String() + "\n", public, nil},
		{"VPP's command", "comment { x }\nwireguard create listen-port 51820 private-key " + key.String() + " src 192.0.2.11 instance 0\n", public, nil},
		{"empty", "", "", ErrNoKey},
		{"a key that is cut off", key.String()[:20], "", ErrNoKey},
		{"a command without a key", "wireguard create listen-port 51820 src 192.0.2.11 private-key", "", ErrNoKey},
		{"not the private key", "wireguard create public-key " + key.String(), "", ErrNoKey},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "key")
			if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := NewFile(path).PublicKey()
			if got != c.want || !errors.Is(err, c.err) {
				t.Errorf("%q, %v; want %q, %v", got, err, c.want, c.err)
			}
			if err != nil && strings.Contains(err.Error(), key.String()[:20]) {
				t.Errorf("the error quotes the file: %v", err)
			}
		})
	}
}

func TestPublicKeyFollowsTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	file := NewFile(path)
	if got, err := file.PublicKey(); got != "" || err != nil {
		t.Errorf("no file: %q, %v", got, err)
	}
	for i := range 2 {
		key, err := wgtypes.GeneratePrivateKey()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(key.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Unix(int64(1000+i), 0)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if got, err := file.PublicKey(); got != key.PublicKey().String() || err != nil {
				t.Errorf("key %d: %q, %v", i, got, err)
			}
		}
	}
}
