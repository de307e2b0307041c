// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net/url"
	"path"
	"strings"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
)

// maxSums is the largest file of checksums that is read, in bytes.
const maxSums = 1 << 20

// checksum is what an image must have.
type checksum struct {
	// kind is md5, sha256 or sha512.
	kind string
	// hex is lower case.
	hex string
}

func (c checksum) hash() hash.Hash {
	switch bmov1.ChecksumType(c.kind) {
	case bmov1.SHA512:
		return sha512.New()
	case bmov1.SHA256:
		return sha256.New()
	default:
		return md5.New()
	}
}

// checksum is what the host says of its image: a checksum, or the URL of a file with one, or with one for each
// file name. Without a type the checksum's length tells it.
func (c *imageCache) checksum(ctx context.Context, image bmov1.Image) (checksum, error) {
	text, kind, err := image.GetChecksum()
	if err != nil {
		return checksum{}, &ImageError{Reason: "the image's checksum cannot be used", Err: err}
	}
	if strings.HasPrefix(text, "http://") || strings.HasPrefix(text, "https://") {
		body, err := c.open(ctx, text)
		if err != nil {
			return checksum{}, &ImageError{Reason: "download of the image's checksum from " + redact(text) + " failed", Err: err}
		}
		defer body.Close()
		content, err := io.ReadAll(io.LimitReader(body, maxSums))
		if err != nil {
			return checksum{}, &ImageError{Reason: "download of the image's checksum from " + redact(text) + " failed", Err: err}
		}
		found, err := findSum(content, image.URL)
		if err != nil {
			return checksum{}, &ImageError{Reason: "the checksums of " + redact(text) + " cannot be used", Err: err}
		}
		text = found
	}
	sum, err := parseSum(text, kind)
	if err != nil {
		return checksum{}, &ImageError{Reason: "the image's checksum cannot be used", Err: err}
	}
	return sum, nil
}

// parseSum reads a checksum; an empty kind follows from its length.
func parseSum(text, kind string) (checksum, error) {
	text = strings.ToLower(strings.TrimSpace(text))
	raw, err := hex.DecodeString(text)
	if err != nil {
		return checksum{}, fmt.Errorf("%q is no hexadecimal number", text)
	}
	if kind == "" {
		switch len(raw) {
		case sha512.Size:
			kind = string(bmov1.SHA512)
		case sha256.Size:
			kind = string(bmov1.SHA256)
		default:
			kind = string(bmov1.MD5)
		}
	}
	sum := checksum{kind: kind, hex: text}
	if want := sum.hash().Size(); len(raw) != want {
		return checksum{}, fmt.Errorf("%q has %d bytes, a checksum of type %s has %d", text, len(raw), kind, want)
	}
	return sum, nil
}

// findSum finds an image's checksum in a file: the line with the name of the image's file, in the form of GNU
// coreutils ("<sum>  <name>", "<sum> *<name>") or of BSD ("SHA256 (<name>) = <sum>"), or else the one word there is.
func findSum(content []byte, image string) (string, error) {
	location, err := url.Parse(image)
	if err != nil {
		return "", fmt.Errorf("reading the image's URL: %w", err)
	}
	name := path.Base(location.Path)
	lines, only := 0, ""
	scanner := bufio.NewScanner(bytes.NewReader(content))
	for scanner.Scan() {
		words := strings.Fields(scanner.Text())
		if len(words) == 0 {
			continue
		}
		lines++
		switch {
		case len(words) == 1:
			only = words[0]
		case len(words) == 4 && words[1] == "("+name+")" && words[2] == "=":
			return words[3], nil
		case len(words) == 2 && strings.TrimPrefix(strings.TrimPrefix(words[1], "*"), "./") == name:
			return words[0], nil
		}
	}
	if lines == 1 && only != "" {
		return only, nil
	}
	return "", fmt.Errorf("there is none for %s", name)
}

// redact leaves out a URL's user and query, which may be credentials.
func redact(location string) string {
	parsed, err := url.Parse(location)
	if err != nil {
		return "a malformed URL"
	}
	parsed.User, parsed.RawQuery = nil, ""
	return parsed.String()
}
