// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
)

// Config says where a control plane lives and what it is made of.
type Config struct {
	// Dir keeps etcd's data, certificates, ports and kubeconfigs. A plane booted in a folder that was
	// used before continues with what is there, on the same ports if they are free.
	Dir string
	// LogDir receives one log per process.
	LogDir string
	// Paths of the executables.
	Etcd, APIServer, ControllerManager string
	// ServiceProxy is the "host:port" of an HTTP CONNECT proxy through which kube-apiserver reaches
	// the addresses of Services, and so webhooks; nothing else routes these addresses here. It serves
	// TLS with a certificate of the plane's authority, which it may also demand of its client.
	ServiceProxy string
	// APIServerArgs are added to kube-apiserver's own, for example to have requests recorded.
	APIServerArgs []string
}

const (
	loopback    = "127.0.0.1"
	serviceCIDR = "10.96.0.0/16"
	apiService  = "10.96.0.1" // the first address: Service default/kubernetes
)

type ports struct {
	EtcdClient int `json:"etcdClient"`
	EtcdPeer   int `json:"etcdPeer"`
	APIServer  int `json:"apiServer"`
}

// Ports are chosen below those that the kernel gives to listeners on port 0 and to connections (32768 and up), one after the
// other, from a place that depends on the process: nobody gets one of them by chance between the choice and its use.
const lowestPort, highestPort = 20000, 31999

var portsTried atomic.Int64 //nolint:gochecknoglobals // Two callers in a process must not be given the same port before one of them uses it.

// FreePorts finds n TCP ports that are free on 127.0.0.1 now. They are distinct, but another program that chooses its port
// itself may take one before the caller does.
func FreePorts(n int) ([]int, error) {
	var found []int
	var err error
	for tries := 0; len(found) < n; tries++ {
		if tries > highestPort-lowestPort {
			return nil, fmt.Errorf("find %d free ports between %d and %d: %w", n, lowestPort, highestPort, err)
		}
		port := lowestPort + int((int64(os.Getpid())*7919+portsTried.Add(1))%(highestPort-lowestPort+1))
		var listener *net.TCPListener
		if listener, err = net.ListenTCP("tcp", &net.TCPAddr{IP: net.ParseIP(loopback), Port: port}); err != nil {
			continue
		}
		defer listener.Close() // only at the end, so that no port is found twice
		found = append(found, port)
	}
	return found, nil
}

// choosePorts returns the ports kept in dir when all of them are free, and new ones otherwise.
func choosePorts(ctx context.Context, dir string) (ports, error) {
	path := filepath.Join(dir, "ports.json")
	var kept ports
	data, err := os.ReadFile(path)
	if err == nil && json.Unmarshal(data, &kept) == nil && allFree(ctx, kept) {
		return kept, nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return ports{}, fmt.Errorf("read the ports of the control plane: %w", err)
	}
	found, err := FreePorts(3)
	if err != nil {
		return ports{}, err
	}
	fresh := ports{EtcdClient: found[0], EtcdPeer: found[1], APIServer: found[2]}
	if data, err = json.Marshal(fresh); err != nil {
		return ports{}, fmt.Errorf("encode the ports of the control plane: %w", err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		return ports{}, fmt.Errorf("keep the ports of the control plane: %w", err)
	}
	return fresh, nil
}

func allFree(ctx context.Context, p ports) bool {
	var config net.ListenConfig
	for _, port := range []int{p.EtcdClient, p.EtcdPeer, p.APIServer} {
		listener, err := config.Listen(ctx, "tcp", hostPort(port))
		if err != nil {
			return false
		}
		_ = listener.Close()
	}
	return true
}

func hostPort(port int) string { return net.JoinHostPort(loopback, strconv.Itoa(port)) }
