// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
)

// firstUID is the first id that Debian gives to people.
const firstUID = 1000

// addUsers makes the users of a cloud-config: an entry in /etc/passwd, a home with authorized keys, and a
// sudo rule. Passwords are not kept.
func (s *system) addUsers(config map[string]any) error {
	users, _ := config["users"].([]any)
	next := firstUID
	for _, entry := range users {
		fields, ok := entry.(map[string]any)
		if !ok {
			// "default" and a plain name: a user with nothing but a name.
			name, _ := entry.(string)
			fields = map[string]any{"name": name}
		}
		name, _ := fields["name"].(string)
		if name == "" || name == "default" {
			continue
		}
		if err := s.addUser(name, next, fields); err != nil {
			return fmt.Errorf("users: %s: %w", name, err)
		}
		next++
	}
	return nil
}

func (s *system) addUser(name string, id int, fields map[string]any) error {
	text := func(key string) string {
		value, _ := fields[key].(string)
		return value
	}
	home := cmp.Or(text("homedir"), "/home/"+name)
	line := fmt.Sprintf("%s:x:%d:%d:%s:%s:%s\n", name, id, id, text("gecos"), home, cmp.Or(text("shell"), "/bin/bash"))
	errs := []error{
		s.disk.Append("/etc/passwd", []byte(line), 0o644),
		s.disk.Append("/etc/group", fmt.Appendf(nil, "%s:x:%d:\n", name, id), 0o644),
		s.disk.MkdirAll(home, 0o755),
	}
	keys, _ := fields["ssh_authorized_keys"].([]any)
	if len(keys) > 0 {
		var lines strings.Builder
		for _, key := range keys {
			fmt.Fprintln(&lines, key)
		}
		errs = append(errs, s.disk.Write(home+"/.ssh/authorized_keys", []byte(lines.String()), 0o600))
	}
	if rule := text("sudo"); rule != "" {
		errs = append(errs, s.disk.Append("/etc/sudoers.d/90-cloud-init-users", []byte(name+" "+rule+"\n"), 0o440))
	}
	return errors.Join(errs...)
}

// mountTable adds mounts to /etc/fstab and makes their directories.
func (s *system) mountTable(config map[string]any) error {
	mounts, _ := config["mounts"].([]any)
	for _, entry := range mounts {
		words, _ := entry.([]any)
		if len(words) < 2 {
			continue
		}
		fields := []string{"", "", "auto", "defaults,nofail", "0", "2"}
		for i, word := range words {
			if word != nil {
				fields[i] = fmt.Sprint(word)
			}
		}
		err := s.disk.Append("/etc/fstab", []byte(strings.Join(fields, "\t")+"\n"), 0o644)
		if strings.HasPrefix(fields[1], "/") {
			err = errors.Join(err, s.disk.MkdirAll(fields[1], 0o755))
		}
		if err != nil {
			return fmt.Errorf("mounts: %w", err)
		}
	}
	return nil
}
