// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package cloudinit

import (
	"fmt"
)

// MaxConfigDrive is how many bytes of user data a config drive takes: Ironic makes drives of 64 MiB at most,
// and refuses what does not fit.
const MaxConfigDrive = 64 << 20

// Script is an executable part of the user data.
type Script struct {
	// Name is the part's file name, e.g. "part-002".
	Name string
	// Body is what runs, from its "#!" line on.
	Body []byte
}

// UserData is what a host's user data asks for.
type UserData struct {
	// Config is the merged cloud-config: mappings are map[string]any, lists []any.
	Config map[string]any
	// Boothooks run on every boot, before everything else.
	Boothooks []Script
	// Scripts run once per instance, together with the script made of runcmd.
	Scripts []Script

	files []File
}

// Parse reads user data with the instance's data (see InstanceData) for its templates. It returns an error
// for whatever cloud-init would refuse or would have to ignore, naming the part.
func Parse(userData []byte, instance map[string]any) (*UserData, error) {
	if len(userData) > MaxConfigDrive {
		return nil, fmt.Errorf("user data has %d bytes, a config drive takes %d", len(userData), MaxConfigDrive)
	}
	result := &UserData{Config: map[string]any{}}
	if len(userData) == 0 {
		return result, nil
	}
	parts, err := split(userData)
	if err != nil {
		return nil, err
	}
	for _, p := range parts {
		if err := result.add(p, instance); err != nil {
			return nil, fmt.Errorf("user data part %s (%s): %w", firstOf(p.name, "1"), p.contentType, err)
		}
	}
	if err := checkSchema(result.Config); err != nil {
		return nil, err
	}
	if result.files, err = decodeFiles(result.Config["write_files"]); err != nil {
		return nil, err
	}
	return result, nil
}

// add handles one part by its type.
func (u *UserData) add(p part, instance map[string]any) error {
	contentType := p.contentType
	if contentType == typeJinja {
		rendered, err := renderJinja(p.body, instance)
		if err != nil {
			return err
		}
		p.body = rendered
		// As in cloud-init, a rendered part's type comes from its first line alone.
		if contentType = sniff(rendered); contentType == "" {
			return fmt.Errorf("the rendered template starts with no header that cloud-init knows, such as #cloud-config")
		}
	}
	switch contentType {
	case typeCloudConfig:
		return u.addConfig(p)
	case typeShellScript, "text/x-shellscript-per-instance", "text/x-shellscript-per-once", "text/x-shellscript-per-boot":
		u.Scripts = append(u.Scripts, Script{Name: p.name, Body: p.body})
		return nil
	case typeBoothook:
		u.Boothooks = append(u.Boothooks, Script{Name: p.name, Body: p.body})
		return nil
	case typeJSONPatch, "text/part-handler", "text/x-include-url", "text/x-include-once-url":
		return fmt.Errorf("the simulated host does not support parts of type %s", contentType)
	}
	if len(p.body) == 0 {
		return nil
	}
	return fmt.Errorf("unhandled content type: cloud-init has no handler for it and would ignore the part")
}

func (u *UserData) addConfig(p part) error {
	value, err := parseYAML(p.body)
	if err != nil {
		return err
	}
	if value == nil {
		return fmt.Errorf("empty cloud-config")
	}
	config, ok := value.(map[string]any)
	if !ok {
		return fmt.Errorf("the top level of a cloud-config must be a mapping, got %s", kindOf(value))
	}
	merged, err := mergePart(u.Config, config, p.mergeType)
	if err != nil {
		return fmt.Errorf("merging: %w", err)
	}
	u.Config = merged
	return nil
}

// Files are the files to write, in order. deferred picks those that wait until packages and users are there.
func (u *UserData) Files(deferred bool) []File {
	var files []File
	for _, file := range u.files {
		if file.Defer == deferred {
			files = append(files, file)
		}
	}
	return files
}

// Text is a top-level string, or "" when it is not set.
func (u *UserData) Text(key string) string {
	text, _ := u.Config[key].(string)
	return text
}

// InstanceData is what templates can refer to: ds.meta_data with the metadata as it is on the config drive,
// v1 with the standard names, and everything of v1 at the top level.
func InstanceData(metadata map[string]any) map[string]any {
	text := func(key string) string {
		value, _ := metadata[key].(string)
		return value
	}
	hostname := firstOf(text("local-hostname"), text("hostname"), text("local_hostname"))
	return map[string]any{
		"ds": map[string]any{"meta_data": metadata},
		"v1": map[string]any{
			"cloud_name":        "openstack",
			"cloud-name":        "openstack",
			"platform":          "openstack",
			"subplatform":       "config-disk (/dev/sr0)",
			"instance_id":       text("uuid"),
			"instance-id":       text("uuid"),
			"local_hostname":    hostname,
			"local-hostname":    hostname,
			"region":            nil,
			"availability_zone": metadata["availability_zone"],
			"availability-zone": metadata["availability_zone"],
			"public_ssh_keys":   []any{},
			"distro":            "debian",
			"distro_release":    "bookworm",
			"kernel_release":    "6.1.0-lab",
			"machine":           "x86_64",
			"system_platform":   "Linux-6.1.0-lab-x86_64",
		},
	}
}
