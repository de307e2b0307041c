// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestArchiveIsThisMachinesOfTheRelease(t *testing.T) {
	const targets = `bookworm http://mirror.example/debian/ bookworm main
bookworm http://mirror.example/debian/ bookworm main
bookworm-updates http://mirror.example/debian/ bookworm-updates main
bookworm-security http://security.example/debian-security/ bookworm-security main
trixie http://mirror.example/debian/ trixie main
bookwormish http://other.example/ bookwormish main
`
	want := Archive{
		"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror.example/debian bookworm main",
		"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror.example/debian bookworm-updates main",
		"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://security.example/debian-security bookworm-security main",
	}
	if diff := cmp.Diff(want, parseTargets(targets)); diff != "" {
		t.Errorf("archive (-want +got):\n%s", diff)
	}
	if got := parseTargets("trixie http://mirror.example/debian/ trixie main\n"); len(got) > 0 {
		t.Errorf("archive %v of another release", got)
	}
}

func TestResolvedPackagesHaveTheirVersions(t *testing.T) {
	const out = `Reading package lists...
Inst runc (1.1.5+ds1-1+deb12u1 Debian:12.1/oldstable [amd64])
Inst libc6 (2.36-9 Debian:12.1/oldstable [amd64]) []
Conf libc6 (2.36-9 Debian:12.1/oldstable [amd64])
`
	if diff := cmp.Diff([]string{"libc6 2.36-9", "runc 1.1.5+ds1-1+deb12u1"}, parseSimulation(out)); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
}

func TestFilesGoIntoATarWithTheirFolders(t *testing.T) {
	file := filepath.Join(t.TempDir(), "files.tar")
	if err := writeTar(file, []File{
		{Path: "/etc/cloud/cloud.cfg.d/90.cfg", Mode: 0o644, Content: "a: b\n"},
		{Path: "/etc/systemd/system/multi-user.target.wants/x.service", Link: "/usr/lib/systemd/system/x.service"},
		{Path: "/etc/initramfs-tools/hooks/x", Mode: 0o755, Content: "#!/bin/sh\n"},
	}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"drwxr-xr-x ./etc/", "drwxr-xr-x ./etc/cloud/", "drwxr-xr-x ./etc/cloud/cloud.cfg.d/",
		"drwxr-xr-x ./etc/initramfs-tools/", "drwxr-xr-x ./etc/initramfs-tools/hooks/",
		"drwxr-xr-x ./etc/systemd/", "drwxr-xr-x ./etc/systemd/system/", "drwxr-xr-x ./etc/systemd/system/multi-user.target.wants/",
		"-rw-r--r-- ./etc/cloud/cloud.cfg.d/90.cfg a: b\n",
		"Lrwxrwxrwx ./etc/systemd/system/multi-user.target.wants/x.service -> /usr/lib/systemd/system/x.service",
		"-rwxr-xr-x ./etc/initramfs-tools/hooks/x #!/bin/sh\n",
	}
	if diff := cmp.Diff(want, list(t, file)); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

func list(t *testing.T, file string) []string {
	t.Helper()
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	var found []string
	for r := tar.NewReader(in); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Uid != 0 || header.Gid != 0 {
			t.Errorf("%s belongs to %d:%d, not to root", header.Name, header.Uid, header.Gid)
		}
		entry := header.FileInfo().Mode().String() + " " + header.Name
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case header.Linkname != "":
			entry += " -> " + header.Linkname
		case len(data) > 0:
			entry += " " + string(data)
		}
		found = append(found, entry)
	}
}

func TestWordsForTheShell(t *testing.T) {
	if got := quote(`echo "it's"`); got != `'echo "it'\''s"'` {
		t.Errorf("quoted %s", got)
	}
}
