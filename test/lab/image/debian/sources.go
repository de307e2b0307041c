// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/image/run"
)

// Release of Debian that images have.
const Release = "bookworm"

// keyring signs the archive.
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// Archive is where packages come from: entries of sources.list(5), one a line.
type Archive []string

// Official are Debian's own servers.
func Official() Archive {
	return Archive{
		entry("http://deb.debian.org/debian", Release, "main"),
		entry("http://deb.debian.org/debian", Release+"-updates", "main"),
		entry("http://deb.debian.org/debian-security", Release+"-security", "main"),
	}
}

func entry(uri, release, component string) string {
	return fmt.Sprintf("deb [signed-by=%s] %s %s %s", keyring, strings.TrimSuffix(uri, "/"), release, component)
}

// Configured returns this machine's own archive of the release, so that a mirror near it is used, and
// Official when the machine has none. It fetches lists of packages when there are none.
func Configured(ctx context.Context) (Archive, error) {
	archive, err := configured(ctx)
	if err != nil || len(archive) > 0 {
		return archive, err
	}
	if err := (run.Command{Args: []string{"apt-get", "update", "--quiet"}}).Do(ctx); err != nil {
		return nil, fmt.Errorf("fetch lists of packages: %w", err)
	}
	archive, err = configured(ctx)
	if err != nil || len(archive) > 0 {
		return archive, err
	}
	return Official(), nil
}

func configured(ctx context.Context) (Archive, error) {
	out, err := run.Command{Args: []string{
		"apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages", "Origin: Debian",
	}}.Output(ctx)
	if err != nil {
		return nil, fmt.Errorf("read this machine's apt sources: %w", err)
	}
	return parseTargets(out), nil
}

// parseTargets reads lines of "codename URI release component".
func parseTargets(out string) Archive {
	var archive Archive
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) != 4 || (fields[0] != Release && !strings.HasPrefix(fields[0], Release+"-")) {
			continue
		}
		if e := entry(fields[1], fields[2], fields[3]); !slices.Contains(archive, e) {
			archive = append(archive, e)
		}
	}
	return archive
}

// options have apt use the archive alone, in a state of its own below dir. The lists are this
// machine's, where it has them.
func (a Archive) options(dir string) ([]string, error) {
	list := filepath.Join(dir, "sources.list")
	if err := os.WriteFile(list, []byte(strings.Join(a, "\n")+"\n"), 0o644); err != nil {
		return nil, fmt.Errorf("write apt's sources: %w", err)
	}
	return []string{
		"--option", "Dir::Etc::SourceList=" + list, "--option", "Dir::Etc::SourceParts=-",
		"--option", "APT::Architecture=amd64", "--option", "Debug::NoLocking=true",
		"--quiet", "--assume-yes", "--no-install-recommends",
	}, nil
}

// Resolve returns what the packages and everything that they depend on are at present, as "name version",
// sorted: a cache key of a system with these packages.
func (a Archive) Resolve(ctx context.Context, packages []string) ([]string, error) {
	dir, err := os.MkdirTemp("", "edgemetal-apt-")
	if err != nil {
		return nil, fmt.Errorf("create a folder for apt: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	options, err := a.options(dir)
	if err != nil {
		return nil, err
	}
	// Nothing is installed there, so that all is to be.
	args := append([]string{"apt-get", "install", "--simulate", "--option", "Dir::State::Status=/dev/null"}, options...)
	args = append(args, "?essential", "?priority(required)")
	resolve := run.Command{Args: append(args, packages...)}
	out, err := resolve.Output(ctx)
	if err != nil {
		// The lists may be missing, or older than the packages wanted.
		update := run.Command{Args: append([]string{"apt-get", "update"}, options...)}
		if err := update.Do(ctx); err != nil {
			return nil, fmt.Errorf("fetch lists of packages: %w", err)
		}
		if out, err = resolve.Output(ctx); err != nil {
			return nil, fmt.Errorf("resolve Debian packages: %w", err)
		}
	}
	return parseSimulation(out), nil
}

// parseSimulation reads lines such as "Inst runc (1.1.5 Debian:12.1/oldstable [amd64])".
func parseSimulation(out string) []string {
	var packages []string
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) >= 3 && fields[0] == "Inst" {
			packages = append(packages, fields[1]+" "+strings.TrimPrefix(fields[2], "("))
		}
	}
	slices.Sort(packages)
	return packages
}
