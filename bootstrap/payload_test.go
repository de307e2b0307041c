// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package bootstrap_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net/mail"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap"
)

func gzipped(t testing.TB, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	writer := gzip.NewWriter(&out)
	if _, err := writer.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// mimePart is a part of a document as Go's parsers read it.
type mimePart struct {
	contentType, mergeType string
	body                   []byte
}

// readParts takes a document apart with Go's MIME parsers and undoes encodings.
func readParts(t testing.TB, document []byte) []mimePart {
	t.Helper()
	message, err := mail.ReadMessage(bytes.NewReader(document))
	if err != nil {
		t.Fatal(err)
	}
	mediaType, params, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
	if err != nil || mediaType != "multipart/mixed" {
		t.Fatalf("content type %q, %v", mediaType, err)
	}
	var parts []mimePart
	reader := multipart.NewReader(message.Body, params["boundary"])
	for {
		part, err := reader.NextRawPart()
		if errors.Is(err, io.EOF) {
			return parts
		}
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, readPart(t, part))
	}
}

func readPart(t testing.TB, part *multipart.Part) mimePart {
	t.Helper()
	var content io.Reader = part
	if part.Header.Get("Content-Transfer-Encoding") == "base64" {
		content = base64.NewDecoder(base64.StdEncoding, part)
	}
	contentType, _, err := mime.ParseMediaType(part.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	if contentType == "application/gzip" {
		if content, err = gzip.NewReader(content); err != nil {
			t.Fatal(err)
		}
	}
	body, err := io.ReadAll(content)
	if err != nil {
		t.Fatal(err)
	}
	return mimePart{contentType: contentType, mergeType: part.Header.Get("X-Merge-Type"), body: body}
}

func TestPayloadKinds(t *testing.T) {
	large := "#cloud-config\n" + strings.Repeat("# a comment that is repeated\n", 5000)
	for name, tc := range map[string]struct{ payload, contentType string }{
		"cloud-config":         {"#cloud-config\nruncmd: [ls]\n", "text/cloud-config"},
		"template":             {"## template: jinja\n#cloud-config\nruncmd: [ls]\n", "text/jinja2"},
		"any case of letters":  {"#Cloud-Config\nruncmd: [ls]\n", "text/cloud-config"},
		"after white space":    {"\n  #cloud-config\nruncmd: [ls]\n", "text/cloud-config"},
		"shell script":         {"#!/bin/bash\nls\n", "text/x-shellscript"},
		"boothook":             {"#cloud-boothook\n#!/bin/sh\nls\n", "text/cloud-boothook"},
		"archive":              {"#cloud-config-archive\n- '#!/bin/sh'\n", "text/cloud-config-archive"},
		"JSON patch":           {"#cloud-config-jsonp\n[]\n", "text/cloud-config-jsonp"},
		"include":              {"#include\nhttps://example.com/x\n", "text/x-include-url"},
		"include once":         {"#include-once\nhttps://example.com/x\n", "text/x-include-once-url"},
		"part handler":         {"#part-handler\n", "text/part-handler"},
		"mentions MIME":        {"#cloud-config\n# Mime-Version: 1.0\n", "text/cloud-config"},
		"not ASCII":            {"#cloud-config\nruncmd: [echo ü]\n", "text/cloud-config"},
		"carriage returns":     {"#cloud-config\r\nruncmd: [ls]\r", "text/cloud-config"},
		"large, so compressed": {large, "application/gzip"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, value := range [][]byte{[]byte(tc.payload), gzipped(t, []byte(tc.payload))} {
				in := input(t, value, staticNetwork())
				out, err := bootstrap.Render(in)
				if err != nil {
					t.Fatal(err)
				}
				parts := readParts(t, out.UserData)
				if len(parts) != 3 {
					t.Fatalf("%d parts, want our hook, the payload's and ours", len(parts))
				}
				if parts[1].contentType != tc.contentType || parts[1].mergeType != "" || string(parts[1].body) != tc.payload {
					t.Errorf("got a part of type %s, merge type %q:\n%s", parts[1].contentType, parts[1].mergeType, parts[1].body)
				}
				if want := "list(prepend)+dict(no_replace,recurse_list)+str()"; parts[2].mergeType != want {
					t.Errorf("our merge type is %q, want %q", parts[2].mergeType, want)
				}
			}
		})
	}
}

func TestMIMEPayloadIsEmbeddedAsItIs(t *testing.T) {
	for _, payload := range []string{mimePayload, strings.ReplaceAll(mimePayload, "\n", "\r\n"), strings.TrimSuffix(mimePayload, "\n")} {
		for _, value := range [][]byte{[]byte(payload), gzipped(t, []byte(payload))} {
			out, err := bootstrap.Render(input(t, value, staticNetwork()))
			if err != nil {
				t.Fatal(err)
			}
			_, rest, _ := strings.Cut(string(out.UserData), "\n\n--edgemetal-")
			_, rest, _ = strings.Cut(rest, "\n--edgemetal-")
			_, rest, _ = strings.Cut(rest, "\n")
			if !strings.HasPrefix(rest, payload+"\n--edgemetal-") {
				t.Errorf("the payload is not the second entity byte for byte:\n%s", out.UserData)
			}
		}
	}
}

func TestRenderErrors(t *testing.T) {
	bgp := infrav1.ControlPlaneVIP{Mode: infrav1.VIPModeARP}
	for name, tc := range map[string]struct {
		change func(*bootstrap.Input)
		is     error
		text   string
	}{
		"empty":              {func(in *bootstrap.Input) { in.Payload.Value = nil }, bootstrap.ErrPayloadEmpty, "the key value of the Secret has no content"},
		"blank":              {func(in *bootstrap.Input) { in.Payload.Value = []byte(" \n") }, bootstrap.ErrPayloadEmpty, "no content"},
		"compressed nothing": {func(in *bootstrap.Input) { in.Payload.Value = gzipped(t, nil) }, bootstrap.ErrPayloadEmpty, "no content"},
		"Ignition by format": {func(in *bootstrap.Input) { in.Payload.Format = "Ignition" }, bootstrap.ErrFormatUnsupported, "the Secret's format is ignition; set format cloud-config"},
		"Ignition by content": {func(in *bootstrap.Input) { in.Payload.Value = []byte(`{"ignition":{"version":"3.4.0"},"storage":{}}`) },
			bootstrap.ErrFormatUnsupported, "it is an Ignition configuration"},
		"JSON":             {func(in *bootstrap.Input) { in.Payload.Value = []byte(`{"runcmd":[]}`) }, bootstrap.ErrFormatUnsupported, "such as #cloud-config"},
		"JSON list":        {func(in *bootstrap.Input) { in.Payload.Value = []byte(`["ignition"]`) }, bootstrap.ErrFormatUnsupported, "such as #cloud-config"},
		"YAML":             {func(in *bootstrap.Input) { in.Payload.Value = []byte("machine:\n  type: worker\n") }, bootstrap.ErrFormatUnsupported, "such as #cloud-config"},
		"binary":           {func(in *bootstrap.Input) { in.Payload.Value = []byte("#!/bin/sh\n\xff\xfe") }, bootstrap.ErrFormatUnsupported, "it is not UTF-8 text"},
		"damaged gzip":     {func(in *bootstrap.Input) { in.Payload.Value = []byte("\x1f\x8bnothing") }, bootstrap.ErrFormatUnsupported, "begins like gzip but is not"},
		"cut gzip":         {func(in *bootstrap.Input) { in.Payload.Value = gzipped(t, bytes.Repeat([]byte("#"), 9000))[:20] }, bootstrap.ErrFormatUnsupported, "gzip stream is damaged"},
		"gzip inside gzip": {func(in *bootstrap.Input) { in.Payload.Value = gzipped(t, gzipped(t, in.Payload.Value)) }, bootstrap.ErrFormatUnsupported, "gzip inside of gzip"},
		"gzip bomb":        {func(in *bootstrap.Input) { in.Payload.Value = gzipped(t, make([]byte, 17<<20)) }, bootstrap.ErrFormatUnsupported, "more than 16777216 bytes"},
		"no host":          {func(in *bootstrap.Input) { in.Host, in.InstanceID = "", "" }, nil, "InstanceID is not set\nHost is not set"},
		"host with quote":  {func(in *bootstrap.Input) { in.Host = `a"b` }, nil, `Host "a\"b" has characters that cannot be passed to a host`},
		"VIP is a name": {func(in *bootstrap.Input) {
			in.ControlPlane = &bootstrap.ControlPlane{Endpoint: infrav1.APIEndpoint{Host: "api.example.com", Port: 6443}, VIP: bgp}
		}, nil, `controlPlaneEndpoint.host: "api.example.com" is not an IP address, which controlPlaneVIP.mode ARP needs`},
		"VIP outside of all networks": {func(in *bootstrap.Input) {
			in.ControlPlane = &bootstrap.ControlPlane{Endpoint: infrav1.APIEndpoint{Host: "203.0.113.10", Port: 6443}, VIP: bgp}
		}, nil, "controlPlaneEndpoint.host 203.0.113.10 lies in no subnet of this machine's interfaces"},
		"BGP without its settings": {func(in *bootstrap.Input) {
			in.ControlPlane = &bootstrap.ControlPlane{Endpoint: endpoint(), VIP: infrav1.ControlPlaneVIP{Mode: infrav1.VIPModeBGP}}
		}, nil, "controlPlaneVIP.bgp: needed with mode BGP"},
	} {
		t.Run(name, func(t *testing.T) {
			in := input(t, []byte("#cloud-config\nruncmd: [ls]\n"), staticNetwork())
			tc.change(&in)
			out, err := bootstrap.Render(in)
			if err == nil || !strings.Contains(err.Error(), tc.text) || (tc.is != nil && !errors.Is(err, tc.is)) {
				t.Errorf("got error %v, want %v with %q", err, tc.is, tc.text)
			}
			if diff := cmp.Diff(bootstrap.Output{}, out); diff != "" {
				t.Errorf("documents in spite of the error:\n%s", diff)
			}
		})
	}
}

// incompressible text of n bytes, the same on every run.
func incompressible(n int) string {
	source := rand.New(rand.NewPCG(1, 2))
	out := make([]byte, n)
	for i := range out {
		out[i] = byte('!' + source.IntN(94))
	}
	return string(out)
}

func TestRenderSizeLimit(t *testing.T) {
	compressible := "#cloud-config\n" + strings.Repeat("# a comment that is repeated\n", 100000)
	out, err := bootstrap.Render(input(t, gzipped(t, []byte(compressible)), staticNetwork()))
	if err != nil {
		t.Fatalf("%d bytes that compress well: %v", len(compressible), err)
	}
	if len(out.UserData) > 100<<10 {
		t.Errorf("%d bytes of user data, want it compressed", len(out.UserData))
	}
	_, err = bootstrap.Render(input(t, []byte("#cloud-config\n#"+incompressible(1<<20)), staticNetwork()))
	tooLarge, ok := errors.AsType[*bootstrap.SizeError](err)
	if !ok || tooLarge.Limit != bootstrap.MaxSize || tooLarge.Size <= tooLarge.Limit {
		t.Fatalf("got %v, want a SizeError", err)
	}
	if want := fmt.Sprintf("are %d bytes together and a Secret holds at most 1048576", tooLarge.Size); !strings.Contains(err.Error(), want) {
		t.Errorf("got %q, want it to contain %q", err, want)
	}
}

// FuzzRender holds that no payload makes Render panic, and that whatever is accepted comes back byte for byte.
func FuzzRender(f *testing.F) {
	for _, seed := range []string{
		"#cloud-config\nruncmd: [ls]\n", "## template: jinja\n#cloud-config\n", "#!/bin/sh\n", rke2Payload, k3sScript, mimePayload,
		`{"ignition":{}}`, "\x1f\x8b", "", "#cloud-config\r\n\r", "#!\n--edgemetal-00000000000000000000000000000000--\n", "mime-version: 1.0\n\nx", "#cloud-config\n\x00\u00e9",
	} {
		f.Add([]byte(seed))
	}
	base := input(f, nil, staticNetwork())
	f.Fuzz(func(t *testing.T, payload []byte) {
		in := base
		in.Payload.Value = payload
		out, err := bootstrap.Render(in)
		if err != nil || bytes.HasPrefix(payload, []byte{0x1f, 0x8b}) {
			return
		}
		if !bytes.Contains(out.UserData, append([]byte("\n"), append(payload, "\n--edgemetal-"...)...)) {
			// Not as it is, so encoded, and then not a MIME document.
			if parts := readParts(t, out.UserData); len(parts) != 3 || !bytes.Equal(parts[1].body, payload) {
				t.Errorf("%q comes back as %q", payload, parts[1].body)
			}
		}
	})
}
