// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package cloudinit

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// checkSchema checks a merged cloud-config: every top-level key must be one that cloud-init has, and the
// modules that bootstrap payloads use must have the fields and types that cloud-init takes.
func checkSchema(config map[string]any) error {
	if err := mapping(topLevel())("", config); err != nil {
		return fmt.Errorf("cloud-config does not fit cloud-init's schema:\n%w", err)
	}
	return nil
}

// topLevel is every key a cloud-config can have.
func topLevel() map[string]rule {
	rules := map[string]rule{
		"write_files":       list(fileEntry(), 0, 0),
		"bootcmd":           list(command(), 1, 0),
		"runcmd":            list(command(), 1, 0),
		"users":             either("a list, a mapping or a string", list(userEntry(), 0, 0), mapOf(anything), text),
		"groups":            either("a list, a mapping or a string", text, list(anything, 1, 0), mapOf(anything)),
		"hostname":          text,
		"fqdn":              text,
		"preserve_hostname": boolean,
		"timezone":          text,
		"locale":            either("a string or false", text, boolean),
		"ntp":               either("a mapping", null, ntp()),
		"disk_setup":        mapOf(disk()),
		"fs_setup":          list(fileSystem(), 0, 0),
		"mounts":            list(list(either("a string", text, null), 1, 6), 1, 0),
		"swap": mapping(map[string]rule{
			"filename": text, "size": either("a size", integer, text), "maxsize": either("a size", integer, text),
		}),
		"growpart": mapping(map[string]rule{
			"mode":                     either("auto, growpart, gpart or off", oneWordOf("auto", "growpart", "gpart", "off"), boolean),
			"devices":                  list(text, 0, 0),
			"ignore_growroot_disabled": boolean,
		}),
		"packages":                   list(either("a name, or a name with a version", text, list(text, 2, 2), mapOf(anything)), 1, 0),
		"package_update":             boolean,
		"package_upgrade":            boolean,
		"package_reboot_if_required": boolean,
		"ssh_authorized_keys":        list(text, 1, 0),
		"ssh_pwauth":                 either("true or false", boolean, text),
		"disable_root":               boolean,
		"final_message":              text,
		"prefer_fqdn_over_hostname":  boolean,
		"create_hostname_file":       boolean,
		"manage_etc_hosts":           either("true, false or localhost", boolean, text),
	}
	for name := range strings.FieldsSeq(uncheckedKeys) {
		rules[name] = anything
	}
	return rules
}

// uncheckedKeys are cloud-init's other top-level keys: legal, without effect on a simulated host.
const uncheckedKeys = `allow_public_ssh_keys ansible apk_repos apt apt_pipelining apt_reboot_if_required apt_update
	apt_upgrade authkey_hash autoinstall byobu_by_default ca-certs ca_certs chef chpasswd cloud_config_modules
	cloud_final_modules cloud_init_modules device_aliases disable_ec2_metadata disable_root_opts drivers fan
	grub-dpkg grub_dpkg keyboard landscape launch-index locale_configfile lxd manage_resolv_conf mcollective
	merge_how merge_type mount_default_fields no_ssh_fingerprints output password phone_home power_state puppet
	random_seed reporting resize_rootfs resolv_conf rh_subscription rpi rsyslog salt_minion snap spacewalk ssh
	ssh_deletekeys ssh_fp_console_blacklist ssh_genkeytypes ssh_import_id ssh_key_console_blacklist ssh_keys
	ssh_publish_hostkeys ssh_quiet_keygen system_info ubuntu_advantage ubuntu_pro updates user vendor_data version
	wireguard yum_repo_dir yum_repos zypper`

func fileEntry() rule {
	return mapping(map[string]rule{
		"path": text, "content": text, "source": anything, "owner": text, "permissions": text,
		"encoding": oneWordOf("gz", "gzip", "gz+base64", "gzip+base64", "gz+b64", "gzip+b64", "b64", "base64", "text/plain"),
		"append":   boolean, "defer": boolean,
	}, "path")
}

func command() rule {
	return either("a string or a list of strings", text, list(text, 0, 0), null)
}

func ntp() rule {
	return mapping(map[string]rule{
		"enabled": boolean, "ntp_client": text, "servers": either("a list", null, list(text, 0, 0)),
		"pools": either("a list", null, list(text, 0, 0)), "peers": list(text, 0, 0), "allow": list(text, 0, 0), "config": anything,
	})
}

func disk() rule {
	partition := either("a size, or a size and a type", integer, list(either("a size or type", integer, text), 2, 2))
	return mapping(map[string]rule{
		"table_type": oneWordOf("mbr", "gpt"), "overwrite": boolean,
		"layout": either("true, false, remove or a list", boolean, oneWordOf("remove"), list(partition, 0, 0)),
	})
}

func fileSystem() rule {
	return mapping(map[string]rule{
		"label": either("a string", text, null), "filesystem": text, "device": text, "overwrite": boolean, "replace_fs": text,
		"partition":  either("auto, any, none or a number", integer, text),
		"extra_opts": either("a string or a list", text, list(text, 0, 0)),
		"cmd":        either("a string or a list", text, list(text, 0, 0)),
	})
}

func userEntry() rule {
	fields := map[string]rule{
		"name": text, "snapuser": text, "gecos": text, "homedir": text, "shell": text, "passwd": text, "expiredate": text,
		"hashed_passwd": text, "plain_text_passwd": text, "primary_group": text, "selinux_user": text, "inactive": text,
		"lock_passwd": boolean, "no_create_home": boolean, "no_log_init": boolean, "no_user_group": boolean,
		"create_groups": boolean, "ssh_redirect_user": boolean, "system": boolean,
		"ssh_authorized_keys": list(text, 1, 0), "ssh_import_id": list(text, 1, 0), "doas": list(text, 1, 0),
		"groups": either("a string or a list", text, list(text, 1, 0), mapOf(null)),
		"sudo":   either("a string, a list or false", text, null, boolean, list(either("a string", text, null), 0, 0)),
		"uid":    either("an integer", integer, text),
	}
	for _, name := range slices.Collect(maps.Keys(fields)) {
		// The spelling with hyphens is deprecated, but still taken.
		fields[strings.ReplaceAll(name, "_", "-")] = fields[name]
	}
	user := mapping(fields)
	return func(at string, value any) error {
		if _, ok := value.(string); ok {
			return nil
		}
		if err := user(at, value); err != nil {
			return err
		}
		entry := value.(map[string]any)
		if entry["name"] == nil && entry["snapuser"] == nil {
			return fmt.Errorf("%s: field name is required", at)
		}
		return nil
	}
}
