// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/cloudinit"
)

const (
	instanceFile = "/var/lib/cloud/data/instance-id"
	instanceDir  = "/var/lib/cloud/instance"
	scriptsDir   = instanceDir + "/scripts"
	// userScriptsBegun is cloud-init's semaphore of the module that runs the user's scripts.
	userScriptsBegun = instanceDir + "/sem/config_scripts_user"
	// perInstanceDir is where files of the user data can put scripts that run once.
	perInstanceDir = "/var/lib/cloud/scripts/per-instance"
)

// runCloudInit goes through cloud-init's stages in its order. What runs on every boot are boothooks and
// bootcmd; everything else runs once per instance.
func (s *system) runCloudInit(ctx context.Context, data *cloudinit.UserData) error {
	instance := s.metadataText("uuid")
	env := map[string]string{"INSTANCE_ID": instance}
	previous, _ := s.disk.Read(instanceFile)
	isNew := strings.TrimSpace(string(previous)) != instance
	if err := s.disk.MkdirAll(instanceDir, 0o755); err != nil {
		return err
	}
	var errs []error
	for _, hook := range data.Boothooks {
		errs = append(errs, s.runScript(ctx, "boothook "+hook.Name, hook.Body, env))
	}
	bootcmd, err := data.ShellScript("bootcmd")
	if err != nil {
		return err
	}
	if bootcmd != nil {
		errs = append(errs, s.runScript(ctx, "bootcmd", bootcmd, env))
	}
	if isNew {
		errs = append(errs, s.firstBoot(ctx, data, env))
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := errors.Join(errs...); err != nil {
		s.writeResult(err)
		return fmt.Errorf("cloud-init: status: error\n%w", err)
	}
	s.writeResult(nil)
	s.console.Logf("cloud-init: %s", cmp.Or(data.Text("final_message"), "finished at "+time.Now().UTC().Format(time.RFC1123)+". Datasource DataSourceConfigDrive"))
	return nil
}

// firstBoot is what happens once per instance. The instance counts as seen from its start on, as in
// cloud-init: a host whose power fails in the middle does not start over by itself.
func (s *system) firstBoot(ctx context.Context, data *cloudinit.UserData, env map[string]string) error {
	if err := s.disk.Write(instanceFile, []byte(s.metadataText("uuid")+"\n"), 0o644); err != nil {
		return err
	}
	if err := s.writeFiles(data.Files(false)); err != nil {
		return err
	}
	if preserve, _ := data.Config["preserve_hostname"].(bool); !preserve {
		if name := cmp.Or(data.Text("hostname"), data.Text("fqdn")); name != "" {
			s.setHostname(name)
		}
	}
	if err := s.addUsers(data.Config); err != nil {
		return err
	}
	if err := s.mountTable(data.Config); err != nil {
		return err
	}
	if _, ok := data.Config["packages"]; ok {
		// The lab has no package mirror: real cloud-init would fail just the same at a site without one.
		return errors.New("packages: no package mirror can be reached from the simulated host")
	}
	if err := s.writeFiles(data.Files(true)); err != nil {
		return err
	}
	return errors.Join(s.instanceScripts(ctx, env), s.userScripts(ctx, data, env))
}

// instanceScripts runs what lies in the folder for scripts that run once per instance, which cloud-init does before the user's
// scripts. Files that nobody may execute are left alone.
func (s *system) instanceScripts(ctx context.Context, env map[string]string) error {
	names, err := s.disk.List(perInstanceDir, "*")
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range slices.Sorted(slices.Values(names)) {
		file := perInstanceDir + "/" + name
		if mode, err := s.disk.Mode(file); err != nil || mode&0o100 == 0 {
			continue
		}
		body, err := s.disk.Read(file)
		if err != nil {
			return err
		}
		errs = append(errs, s.runScript(ctx, name, body, env))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("scripts_per_instance: %w", err)
	}
	return nil
}

func (s *system) writeFiles(files []cloudinit.File) error {
	for _, file := range files {
		write := s.disk.Write
		if file.Append {
			write = s.disk.Append
		}
		if err := write(file.Path, file.Content, file.Mode); err != nil {
			return fmt.Errorf("write_files: %w", err)
		}
		s.console.Logf("cloud-init: wrote %s (%d bytes, mode %#o, owner %s)", file.Path, len(file.Content), file.Mode, file.Owner)
	}
	return nil
}

// userScripts runs the script made of runcmd and the script parts, in the order of their file names.
func (s *system) userScripts(ctx context.Context, data *cloudinit.UserData, env map[string]string) error {
	runcmd, err := data.ShellScript("runcmd")
	if err != nil {
		return err
	}
	scripts := slices.Clone(data.Scripts)
	if runcmd != nil {
		scripts = append(scripts, cloudinit.Script{Name: "runcmd", Body: runcmd})
	}
	if err := s.disk.Write(userScriptsBegun, nil, 0o644); err != nil {
		return err
	}
	slices.SortStableFunc(scripts, func(a, b cloudinit.Script) int { return cmp.Compare(a.Name, b.Name) })
	var errs []error
	for _, script := range scripts {
		if err := s.disk.Write(scriptsDir+"/"+script.Name, script.Body, 0o700); err != nil {
			return err
		}
		errs = append(errs, s.runScript(ctx, script.Name, script.Body, env))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("scripts_user: %w", err)
	}
	return nil
}

func (s *system) runScript(ctx context.Context, name string, body []byte, env map[string]string) error {
	if !bytes.HasPrefix(body, []byte("#!")) {
		// A boothook's header is a comment to the shell.
		body = slices.Concat([]byte("#!/bin/sh\n"), body)
	}
	status, err := s.shell.Run(ctx, name, body, env)
	if err != nil {
		return err
	}
	if status != 0 {
		return fmt.Errorf("%s ended with status %d", name, status)
	}
	return nil
}

// writeResult leaves what "cloud-init status" reads.
func (s *system) writeResult(failure error) {
	result := map[string]any{"v1": map[string]any{"datasource": "DataSourceConfigDrive", "errors": []string{}}}
	if failure != nil {
		result["v1"] = map[string]any{"datasource": "DataSourceConfigDrive", "errors": strings.Split(failure.Error(), "\n")}
	}
	content, err := json.MarshalIndent(result, "", " ")
	if err == nil {
		err = s.disk.Write("/run/cloud-init/result.json", content, 0o644)
	}
	if err != nil {
		s.console.Logf("cloud-init: %v", err)
	}
}
