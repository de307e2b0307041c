// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/fakevpp/control"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/kubelet"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/netdata"
)

const (
	apiSocket = "/var/run/vpp/vpp-api.sock"
	// ControlSocket steers a host's fake VPP (package fakevpp/control); a path of the host.
	ControlSocket = "/run/vpp/control.sock"
	// hugepagesFile counts the host's hugepages.
	hugepagesFile = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
	// hugepagesTaken is what VPP took when it was measured without page-size 4K.
	hugepagesTaken = 149
)

// vpp is vpp-manager with a fake VPP: it writes VPP's start-up files from the container's variables and runs
// VPP. The rest of vpp-manager's work, the uplink, is with the player of the agent, which waits for it.
type vpp struct {
	executable string
	wire       string
}

// uplink is what the lab needs of CALICOVPP_INTERFACES.
type uplink struct {
	InterfaceName string `json:"interfaceName"`
	MTU           int    `json:"mtu"`
	RxMode        string `json:"rxMode"`
}

// Run implements kubelet.Program.
func (v vpp) Run(ctx context.Context, c *kubelet.Container) error {
	wanted, _, err := findUplink(c)
	if err != nil {
		return err
	}
	script, hugepages, err := writeStartup(c)
	if err != nil {
		return err
	}
	if hugepages {
		// As VPP does without page-size 4K, before it falls back to small pages.
		if err := c.HostDisk.Write(hugepagesFile, []byte(strconv.Itoa(hugepagesTaken)+"\n"), 0o644); err != nil {
			return err
		}
	}
	socket, err := c.Path(apiSocket)
	if err != nil {
		return err
	}
	steering, err := c.HostDisk.Real(ControlSocket)
	if err != nil {
		return err
	}
	args := []string{
		"--socket=" + socket, "--control=" + steering, "--exec=" + script, "--wire=" + v.wire, "--hugepages=" + strconv.FormatBool(hugepages),
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(socket), 0o755), os.MkdirAll(v.wire, 0o755)); err != nil {
		return err
	}
	go setRxMode(ctx, steering, wanted)
	return c.Process(ctx, v.executable, args)
}

// findUplink finds the host's interface that VPP takes over. Like vpp-manager it needs it up, with an address.
func findUplink(c *kubelet.Container) (uplink, netdata.Interface, error) {
	var spec struct {
		UplinkInterfaces []uplink `json:"uplinkInterfaces"`
	}
	if err := json.Unmarshal([]byte(c.Env["CALICOVPP_INTERFACES"]), &spec); err != nil {
		return uplink{}, netdata.Interface{}, fmt.Errorf("error parsing CALICOVPP_INTERFACES: %w", err)
	}
	if len(spec.UplinkInterfaces) == 0 {
		return uplink{}, netdata.Interface{}, errors.New("no uplink interface in CALICOVPP_INTERFACES")
	}
	wanted := spec.UplinkInterfaces[0]
	for _, candidate := range c.Interfaces {
		if candidate.Name != wanted.InterfaceName {
			continue
		}
		if len(candidate.Addresses) == 0 {
			return uplink{}, netdata.Interface{}, fmt.Errorf("interface %s has no address", wanted.InterfaceName)
		}
		if wanted.MTU > candidate.MTU {
			return uplink{}, netdata.Interface{}, fmt.Errorf("interface %s: MTU %d exceeds the link's, %d: VPP would stop sending for good at the first large frame", wanted.InterfaceName, wanted.MTU, candidate.MTU)
		}
		return wanted, candidate, nil
	}
	return uplink{}, netdata.Interface{}, fmt.Errorf("error getting interface %s: Link not found", wanted.InterfaceName)
}

// writeStartup writes VPP's start-up configuration and script to the host, as vpp-manager does. It returns
// the script with paths of this machine, and whether VPP may take hugepages.
func writeStartup(c *kubelet.Container) (script string, hugepages bool, err error) {
	configuration, ok := c.Env["CALICOVPP_CONFIG_TEMPLATE"]
	if !ok {
		return "", false, errors.New("CALICOVPP_CONFIG_TEMPLATE is not set")
	}
	commands := c.Env["CALICOVPP_CONFIG_EXEC_TEMPLATE"]
	write := func(name, content string) error {
		real, err := c.Path(name)
		if err != nil {
			return err
		}
		return os.WriteFile(real, []byte(content), 0o600)
	}
	err = errors.Join(write("/etc/vpp/startup.conf", configuration), write("/etc/vpp/startup.exec", commands))
	if err != nil {
		return "", false, fmt.Errorf("writing VPP's start-up files: %w", err)
	}
	moved, err := moveScript(c, commands)
	if err != nil {
		return "", false, err
	}
	const local = "/tmp/startup.exec"
	if err := write(local, moved); err != nil {
		return "", false, fmt.Errorf("writing VPP's start-up script: %w", err)
	}
	script, err = c.Path(local)
	return script, !hasSmallPages(configuration), err
}

// hasSmallPages looks for the token that keeps VPP's buffers out of hugepages.
func hasSmallPages(configuration string) bool {
	_, rest, _ := strings.Cut(configuration, "buffers {")
	buffers, _, _ := strings.Cut(rest, "}")
	return strings.Contains(strings.Join(strings.Fields(buffers), " "), "page-size 4K")
}

// moveScript leads the files that a script runs to where they are on this machine.
func moveScript(c *kubelet.Container, commands string) (string, error) {
	var moved strings.Builder
	for line := range strings.Lines(commands) {
		if file, isExec := strings.CutPrefix(strings.TrimSpace(line), "exec "); isExec {
			real, err := c.Path(strings.TrimSpace(file))
			if err != nil {
				return "", err
			}
			line = "exec " + real + "\n"
		}
		moved.WriteString(line)
	}
	return moved.String(), nil
}

// setRxMode makes the uplink poll when that is asked for, as soon as VPP answers.
func setRxMode(ctx context.Context, steering string, wanted uplink) {
	if wanted.RxMode == "" || wanted.RxMode == "interrupt" {
		return
	}
	client := control.NewClient(steering)
	for client.Fault(ctx, control.Fault{Poll: "host-" + wanted.InterfaceName}) != nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}
