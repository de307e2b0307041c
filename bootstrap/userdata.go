// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
)

const (
	// mergeType puts our lists in front of the payload's and leaves every other key of the payload alone.
	mergeType = "list(prepend)+dict(no_replace,recurse_list)+str()"

	// compressAbove is the size in bytes from which the payload is compressed. Smaller ones stay legible in the Secret.
	compressAbove = 64 << 10

	// base64Line is the length of a line of base64 in MIME.
	base64Line = 76
)

// compose makes the MIME document: our boothook, the payload, our cloud-config. Package documentation says why in this order.
func compose(p payload, config []byte) ([]byte, error) {
	theirs, err := p.entity()
	if err != nil {
		return nil, err
	}
	ours := entity([]string{
		`Content-Type: text/cloud-config; charset="utf-8"`,
		`Content-Disposition: attachment; filename="edgemetal.yaml"`,
		"X-Merge-Type: " + mergeType,
	}, config)
	hook := entity([]string{
		`Content-Type: text/cloud-boothook; charset="utf-8"`,
		`Content-Disposition: attachment; filename="edgemetal-power-loss.sh"`,
	}, []byte(startOverHook))
	boundary := boundaryFor(hook, theirs, ours)
	var out bytes.Buffer
	fmt.Fprintf(&out, "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=%q\n\n", boundary)
	for _, body := range [][]byte{hook, theirs, ours} {
		fmt.Fprintf(&out, "--%s\n%s\n", boundary, body)
	}
	fmt.Fprintf(&out, "--%s--\n", boundary)
	return out.Bytes(), nil
}

// entity is the payload as a MIME entity. A payload that is a MIME document is one already. A large payload of another kind is
// compressed, inside of the part, since the document itself must stay text.
func (p payload) entity() ([]byte, error) {
	if p.contentType == "" {
		return p.content, nil
	}
	if len(p.content) <= compressAbove {
		return entity([]string{fmt.Sprintf("Content-Type: %s; charset=\"utf-8\"", p.contentType)}, p.content), nil
	}
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	if _, err := writer.Write(p.content); err != nil {
		return nil, fmt.Errorf("compressing the bootstrap data: %w", err)
	}
	if err := writer.Close(); err != nil {
		return nil, fmt.Errorf("compressing the bootstrap data: %w", err)
	}
	// cloud-init tells the type of what it unpacks from the first line.
	return entity([]string{"Content-Type: application/gzip"}, packed.Bytes()), nil
}

// entity writes headers and body, the body as it is when that is safe and in base64 otherwise: line ends and characters outside of
// ASCII do not survive MIME parsers unchanged.
func entity(headers []string, body []byte) []byte {
	var out bytes.Buffer
	for _, header := range headers {
		out.WriteString(header + "\n")
	}
	if isPlainText(body) {
		out.WriteString("Content-Transfer-Encoding: 7bit\n\n")
		out.Write(body)
		return out.Bytes()
	}
	out.WriteString("Content-Transfer-Encoding: base64\n\n")
	encoded := base64.StdEncoding.EncodeToString(body)
	for start := 0; start < len(encoded); start += base64Line {
		out.WriteString(encoded[start:min(start+base64Line, len(encoded))] + "\n")
	}
	return out.Bytes()
}

// boundaryFor derives a boundary from the bodies, so that the same input gives the same document, and makes sure that none contains it.
func boundaryFor(bodies ...[]byte) string {
	digest := sha256.New()
	for _, body := range bodies {
		digest.Write(body)
	}
	for {
		boundary := "edgemetal-" + hex.EncodeToString(digest.Sum(nil)[:16])
		clashes := false
		for _, body := range bodies {
			clashes = clashes || bytes.Contains(body, []byte(boundary))
		}
		if !clashes {
			return boundary
		}
		digest.Write([]byte(boundary))
	}
}
