// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test program plays QEMU and qemu-img when it is called by their names.
const (
	fakeQEMU  = "fake-qemu"
	fakeImage = "fake-qemu-img"
)

func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case fakeQEMU:
		playQEMU(os.Args[1:])
		os.Exit(1)
	case fakeImage:
		os.Exit(playImage(os.Args[1:]))
	default:
		os.Exit(m.Run())
	}
}

// fakes are the paths of the played programs.
func fakes(t *testing.T) (system, image string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	system, image = filepath.Join(dir, fakeQEMU), filepath.Join(dir, fakeImage)
	for _, name := range []string{system, image} {
		if err := os.Symlink(self, name); err != nil {
			t.Fatal(err)
		}
	}
	return system, image
}

// playQEMU boots a machine, and returns when that fails. The disk counts its boots. The machine answers the monitor
// and ends as a guest would: on a press of the power button, unless the file "stubborn" is there, and when the
// cable of NIC 9 is touched.
func playQEMU(args []string) {
	disk, err := os.OpenFile(diskName(0), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	fmt.Fprintln(disk, "boot")
	if slices.Contains(args, "broken") {
		fmt.Fprintln(os.Stderr, "a broken machine")
		return
	}
	console, err := os.OpenFile(consoleName, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return
	}
	fmt.Fprintln(console, "login:")
	for _, arg := range args {
		if name, ok := strings.CutPrefix(arg[strings.LastIndex(arg, ",")+1:], "file="); ok && strings.HasPrefix(arg, "filter-dump") {
			if err := os.WriteFile(name, []byte("captured"), 0o600); err != nil {
				return
			}
		}
	}
	listener, err := net.Listen("unix", monitorName)
	if err != nil {
		return
	}
	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, syscall.SIGTERM)
	go func() {
		<-stopped
		syscall.Exit(0)
	}()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		playMonitor(conn, disk)
	}
}

func playMonitor(conn net.Conn, disk *os.File) {
	defer conn.Close()
	fmt.Fprintln(conn, `{"QMP": {"version": {}, "capabilities": []}}`)
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		var request struct {
			Execute string `json:"execute"`
		}
		if json.Unmarshal(lines.Bytes(), &request) != nil {
			return
		}
		fmt.Fprintln(conn, `{"event": "SOMETHING", "data": {}}`)
		switch request.Execute {
		case "device_del":
			fmt.Fprintln(conn, `{"error": {"class": "GenericError", "desc": "no such device"}}`)
			continue
		case "system_powerdown":
			if _, err := os.Stat("stubborn"); err != nil {
				fmt.Fprintln(disk, "shutdown")
				fmt.Fprintln(conn, `{"return": {}}`)
				time.Sleep(50 * time.Millisecond)
				syscall.Exit(0)
			}
		case "set_link":
			if bytes.Contains(lines.Bytes(), []byte("net9")) {
				syscall.Exit(0)
			}
		}
		fmt.Fprintln(conn, `{"return": {}}`)
	}
}

// playImage makes disks that are texts, and tells the format of an image by its first bytes.
func playImage(args []string) int {
	last := args[len(args)-1]
	switch args[0] {
	case "create":
		return written(args[len(args)-2], []byte(strings.Join(args, " ")+"\n"))
	case "convert":
		return written(last, []byte("QFI\xfb converted"))
	case "info":
		content, err := os.ReadFile(last)
		if err != nil {
			return 1
		}
		info := map[string]any{"format": "raw", "virtual-size": len(content)}
		for start, format := range map[string]string{"QFI\xfb": "qcow2", "KDMV": "vmdk"} {
			if bytes.HasPrefix(content, []byte(start)) {
				info["format"] = format
			}
		}
		if bytes.Contains(content, []byte("backing")) {
			info["backing-filename"] = "/etc/shadow"
		}
		if i := slices.Index(args, "-f"); i > 0 && args[i+1] != info["format"] {
			fmt.Fprintln(os.Stderr, "Image is not in "+args[i+1]+" format")
			return 1
		}
		if json.NewEncoder(os.Stdout).Encode(info) != nil {
			return 1
		}
	}
	return 0
}

func written(name string, content []byte) int {
	if err := os.WriteFile(name, content, 0o644); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
