// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package vpp

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/tools"
)

const (
	eventually = 60 * time.Second
	polling    = 100 * time.Millisecond
)

// What all specs share.
var (
	// config of an administrator of the API server, and a file with it for processes.
	config     *rest.Config
	kubeconfig string
	client     kubernetes.Interface
	// agentBinary is the node agent, built from the tree.
	agentBinary string
)

func TestVPP(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(eventually)
	SetDefaultEventuallyPollingInterval(polling)
	klog.SetLogger(logr.Discard())
	ctrl.SetLogger(logr.Discard())
	RunSpecs(t, "VPP")
}

var _ = BeforeSuite(func(ctx context.Context) {
	root, err := tools.Root()
	Expect(err).NotTo(HaveOccurred())
	assets, err := tools.Toolbox{Root: root, Out: GinkgoWriter}.Assets(ctx)
	Expect(err).NotTo(HaveOccurred())
	environment := &envtest.Environment{BinaryAssetsDirectory: assets, ControlPlaneStartTimeout: 3 * time.Minute, ControlPlaneStopTimeout: time.Minute}
	config, err = environment.Start()
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(environment.Stop()).To(Succeed()) })
	config.QPS, config.Burst = 200, 400
	client = kubernetes.NewForConfigOrDie(config)
	dir := GinkgoT().TempDir()
	kubeconfig = filepath.Join(dir, "kubeconfig")
	Expect(writeKubeconfig(kubeconfig)).To(Succeed())
	agentBinary = filepath.Join(dir, "edge-agent")
	build := exec.CommandContext(ctx, "go", "build", "-o", agentBinary, "./cmd/edge-agent")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	output, err := build.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(output))
})

// writeKubeconfig writes the administrator's credentials to a file.
func writeKubeconfig(path string) error {
	const name = "test"
	return clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{name: {Server: config.Host, CertificateAuthorityData: config.CAData}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{name: {ClientCertificateData: config.CertData, ClientKeyData: config.KeyData, Token: config.BearerToken}},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: name}},
		CurrentContext: name,
	}, path)
}

// runAgent runs the agent's command and returns what it prints.
func agentStatus(ctx context.Context, runDir string) (status agentReport, err error) {
	var out, problems bytes.Buffer
	command := exec.CommandContext(ctx, agentBinary, "status", "--run-dir", runDir, "-o", "json")
	command.Stdout, command.Stderr = &out, &problems
	if err := command.Run(); err != nil {
		// A verdict that is not good is an exit code too.
		if out.Len() == 0 {
			return status, fmt.Errorf("%w: %s", err, problems.String())
		}
	}
	return status, json.Unmarshal(out.Bytes(), &status)
}

// agentReport is what the specs read of the agent's status.
type agentReport struct {
	Verdict struct {
		Encrypted bool   `json:"encrypted"`
		Reason    string `json:"reason"`
		Message   string `json:"message"`
	} `json:"verdict"`
	Guard struct {
		InForce bool `json:"inForce"`
		Drops   []struct {
			Rule    string `json:"rule"`
			Packets uint64 `json:"packets"`
		} `json:"drops"`
	} `json:"guard"`
	Hugepages struct {
		Before      *int  `json:"before"`
		Now         int   `json:"now"`
		VPPPageSize int64 `json:"vppPageSize"`
	} `json:"hugepages"`
	RxQueues []struct {
		Interface string `json:"interface"`
		Mode      string `json:"mode"`
	} `json:"rxQueues"`
}

// dropped adds up what the guard has dropped.
func (r agentReport) dropped() (packets uint64) {
	for _, drop := range r.Guard.Drops {
		packets += drop.Packets
	}
	return packets
}
