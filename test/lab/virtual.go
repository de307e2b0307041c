// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/image"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/qemu"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/sitenet"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/tools"
)

// virtual is what virtual hosts need: an image to boot, a network in user space, and a rack.
type virtual struct {
	image   image.Image
	network *sitenet.Network
	rack    *qemu.Rack
}

// Prepare makes what hosts of a kind need and what takes long, so that its progress can be shown before Start. It returns the
// file for Options.Disk: with it Start builds nothing again, whatever has changed in the tree since.
func Prepare(ctx context.Context, box tools.Toolbox, hosts string) (disk string, err error) {
	if hosts != VirtualHosts {
		return "", nil
	}
	if _, err := box.Programs(ctx, tools.QemuSystem, tools.QemuImg, tools.Firmware); err != nil {
		return "", fmt.Errorf("prepare virtual hosts: %w", err)
	}
	built, err := image.Build(ctx, image.Options{Toolbox: box, Name: image.Node, Out: box.Out})
	return built.Disk, err
}

// bootImage is the image that virtual hosts boot.
func bootImage(ctx context.Context, o Options, box tools.Toolbox) (image.Image, error) {
	name := cmp.Or(o.Image, image.Node)
	if o.Disk == "" {
		return image.Build(ctx, image.Options{Toolbox: box, Name: name, Out: o.Out})
	}
	file, err := os.Open(o.Disk)
	if err != nil {
		return image.Image{}, fmt.Errorf("read the disk image: %w", err)
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return image.Image{}, fmt.Errorf("read the disk image: %w", err)
	}
	return image.Image{Name: name, Disk: o.Disk, SHA256: hex.EncodeToString(sum.Sum(nil))}, nil
}

// prepareVirtual makes everything around virtual hosts; nothing of it runs yet.
func (l *Lab) prepareVirtual(ctx context.Context, o Options) error {
	root, err := tools.Root()
	if err != nil {
		return err
	}
	box := tools.Toolbox{Root: root, Out: o.Out}
	programs, err := box.Programs(ctx, tools.QemuSystem, tools.QemuImg, tools.Firmware)
	if err != nil {
		return fmt.Errorf("prepare virtual hosts: %w", err)
	}
	v := &virtual{}
	if v.image, err = bootImage(ctx, o, box); err != nil {
		return err
	}
	l.Site = l.Site.withGuests()
	l.Site.Image = ServedImage{Name: v.image.Name, URL: l.Site.imageURL(v.image.Name), SHA256: v.image.SHA256}
	v.network, err = sitenet.New(sitenet.Config{
		Prefix: l.Site.Guests, Gateway: l.Site.Gateway(),
		DHCPFirst: l.Site.Host(firstLease), DHCPLast: l.Site.Host(lastLease),
		Dir: filepath.Join(l.Dir, "network"), Log: o.Log,
	})
	if err != nil {
		return fmt.Errorf("make the network of the virtual hosts: %w", err)
	}
	l.virtual = v
	l.Proxy = "http://" + v.network.ProxyAddr()
	v.rack, err = qemu.NewRack(qemu.Config{
		Dir: l.HostDir(), ImageCache: filepath.Join(l.Dir, "images"), Network: v.network, Capture: o.Capture,
		Program: programs[tools.QemuSystem], ImageProgram: programs[tools.QemuImg], Firmware: programs[tools.Firmware], Log: o.Log,
	})
	if err != nil {
		return fmt.Errorf("make the rack of virtual hosts: %w", err)
	}
	return nil
}

// Rack holds the virtual hosts; nil when hosts are simulated.
func (l *Lab) Rack() *qemu.Rack {
	if l.virtual == nil {
		return nil
	}
	return l.virtual.rack
}

// disks are the files of the images that the lab serves, by the images' names.
func (l *Lab) disks() map[string]string {
	if l.virtual == nil {
		return nil
	}
	return map[string]string{l.virtual.image.Name: l.virtual.image.Disk}
}

// hosts is what runs the hosts: virtual ones that were on when the lab was stopped are switched on first, and all of them
// end with it.
func (l *Lab) hosts(hardware *iron.Iron) func(context.Context) error {
	if l.virtual == nil {
		return hardware.Run
	}
	return func(ctx context.Context) error {
		defer l.virtual.rack.Close()
		if err := l.virtual.rack.Restore(ctx); err != nil {
			return fmt.Errorf("switch the virtual hosts on again: %w", err)
		}
		return hardware.Run(ctx)
	}
}
