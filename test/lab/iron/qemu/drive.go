// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/hardware"
)

const (
	// driveLabel is by which cloud-init finds a config drive.
	driveLabel = "config-2"
	// driveFolder holds the documents on it.
	driveFolder = "openstack/latest"
	// blockSize of ISO 9660, in bytes.
	blockSize = 2048
)

// writeDrive makes a config drive in OpenStack's form: an ISO 9660 file system with Rock Ridge names. Only its
// owner may read it, as user data hold keys.
func writeDrive(name string, drive hardware.Drive) error {
	// The library gathers the files in a folder first; this one is private, and beside the drive.
	workspace, err := os.MkdirTemp(filepath.Dir(name), "config-drive-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(workspace)
	if err := os.MkdirAll(filepath.Join(workspace, driveFolder), 0o755); err != nil {
		return err
	}
	for document, content := range map[string][]byte{"user_data": drive.UserData, "network_data.json": drive.NetworkData, "meta_data.json": drive.MetaData} {
		if len(content) == 0 {
			continue
		}
		if err := os.WriteFile(filepath.Join(workspace, driveFolder, document), content, 0o600); err != nil {
			return err
		}
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	target, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	iso, err := iso9660.Create(file.New(target, false), 0, 0, blockSize, workspace)
	if err == nil {
		err = iso.Finalize(iso9660.FinalizeOptions{RockRidge: true, VolumeIdentifier: driveLabel})
	}
	if err := errors.Join(err, target.Close()); err != nil {
		return fmt.Errorf("making the file system: %w", err)
	}
	return nil
}
