// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// WireGuardKeys are the private keys of a site's machines, in all the forms in which they could be found.
type WireGuardKeys struct {
	// Count of the keys.
	Count int
	texts map[string]string
}

// WireGuardKeys reads the keys from their Secrets, and adds them to those that were read before: keys of
// machines that are gone must not be found either.
func (s *Site) WireGuardKeys(ctx context.Context, before *WireGuardKeys) *WireGuardKeys {
	GinkgoHelper()
	if before == nil {
		before = &WireGuardKeys{texts: map[string]string{}}
	}
	stored := &corev1.SecretList{}
	Expect(s.Client().List(ctx, stored, client.InNamespace(s.Namespace))).To(Succeed())
	for _, secret := range stored.Items {
		if !strings.HasSuffix(secret.Name, "-wireguard") || before.texts[secret.Name] != "" {
			continue
		}
		before.add(secret.Name, string(secret.Data["privateKey"]))
	}
	content, err := json.Marshal(stored)
	Expect(err).NotTo(HaveOccurred())
	Expect(before.found(content)).NotTo(BeEmpty(), "the search finds the keys where they must be: in Secrets")
	return before
}

func (k *WireGuardKeys) add(from, key string) {
	GinkgoHelper()
	raw, err := base64.StdEncoding.DecodeString(key)
	Expect(err).NotTo(HaveOccurred(), from)
	Expect(raw).To(HaveLen(32), from)
	k.Count++
	k.texts[from] = key
	k.texts[from+" in hexadecimal"] = hex.EncodeToString(raw)
	k.texts[from+" as numbers"] = numbers(raw)
	// Three bytes become four characters; what stands at the ends depends on what is beside the key.
	for shift := range 3 {
		k.texts[fmt.Sprintf("%s in base64, shifted by %d", from, shift)] = base64.StdEncoding.EncodeToString([]byte(key[shift:]))[:52]
	}
}

// numbers is how fmt prints bytes.
func numbers(raw []byte) string {
	words := make([]string, len(raw))
	for i, b := range raw {
		words[i] = strconv.Itoa(int(b))
	}
	return strings.Join(words, " ")
}

// found names what is in the content.
func (k *WireGuardKeys) found(content []byte) []string {
	var found []string
	for from, text := range k.texts {
		if bytes.Contains(content, []byte(text)) {
			found = append(found, from)
		}
	}
	return found
}

// ExpectNowhere looks for the keys in every log, every object of both clusters that is not a Secret, all metrics and
// every file of every host. They may be in the script with which VPP makes the tunnel, and in the user data.
func (k *WireGuardKeys) ExpectNowhere(ctx context.Context, s *Site, cluster string) {
	GinkgoHelper()
	looked := 0
	look := func(name string, content []byte) {
		looked++
		Expect(k.found(content)).To(BeEmpty(), "%s holds a private key", name)
	}
	logs, err := filepath.Glob(filepath.Join(s.LogDir, "*"))
	Expect(err).NotTo(HaveOccurred())
	Expect(logs).NotTo(BeEmpty())
	for _, log := range logs {
		content, err := os.ReadFile(log)
		Expect(err).NotTo(HaveOccurred())
		look(log, content)
	}
	k.lookAtHosts(s, look)
	management, err := s.RESTConfig()
	Expect(err).NotTo(HaveOccurred())
	lookAtObjects(ctx, "management cluster", management, look)
	lookAtObjects(ctx, "workload cluster", s.WorkloadConfig(ctx, cluster), look)
	look("the manager's metrics", s.managerMetrics(ctx))
	nodes := &corev1.NodeList{}
	Expect(s.Workload(ctx, cluster).List(ctx, nodes)).To(Succeed())
	for _, node := range nodes.Items {
		look("metrics of the agent on "+node.Name, agentMetrics(ctx, node))
		look("status of the agent on "+node.Name, []byte(s.AgentStatus(ctx, cluster, node.Name, "-o", "json")))
	}
	GinkgoWriter.Printf("%d private keys: looked into %d logs, files, kinds of objects and metrics\n", k.Count, looked)
}

// lookAtHosts reads all files of the site's hosts.
func (k *WireGuardKeys) lookAtHosts(s *Site, look func(string, []byte)) {
	GinkgoHelper()
	scripts := 0
	root := filepath.Join(s.HostDir(), s.Namespace)
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if os.IsNotExist(err) || entry != nil && !entry.Type().IsRegular() {
			return nil // a file that was there a moment ago, a directory, link or socket
		}
		if err != nil {
			return err
		}
		content, err := os.ReadFile(name)
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case strings.HasSuffix(name, "/root"+encryption.VPPExecFile):
			info, err := entry.Info()
			if err != nil {
				return err
			}
			Expect(info.Mode().Perm()).To(Equal(fs.FileMode(0o600)), name)
			Expect(k.found(content)).To(HaveLen(1), "%s holds the host's key", name)
			scripts++
		case strings.HasSuffix(name, "/drive/user_data"):
		default:
			look(name, content)
		}
		return nil
	})
	Expect(err).NotTo(HaveOccurred())
	Expect(scripts).To(BeNumerically(">", 0), "hosts with a key")
}

// lookAtObjects lists all kinds that can be listed, but Secrets.
func lookAtObjects(ctx context.Context, where string, config *rest.Config, look func(string, []byte)) {
	GinkgoHelper()
	api, err := client.New(config, client.Options{})
	Expect(err).NotTo(HaveOccurred())
	kinds, err := discovery.NewDiscoveryClientForConfigOrDie(config).ServerPreferredResources()
	Expect(err).NotTo(HaveOccurred())
	listed := 0
	for _, group := range kinds {
		version, err := schema.ParseGroupVersion(group.GroupVersion)
		Expect(err).NotTo(HaveOccurred())
		for _, resource := range group.APIResources {
			if resource.Kind == "Secret" || !strings.Contains(resource.Verbs.String(), "list") {
				continue
			}
			list := &unstructured.UnstructuredList{}
			list.SetGroupVersionKind(version.WithKind(resource.Kind + "List"))
			Expect(api.List(ctx, list)).To(Succeed(), resource.Kind)
			content, err := json.Marshal(list)
			Expect(err).NotTo(HaveOccurred())
			look(fmt.Sprintf("%s of the %s", resource.Name, where), content)
			listed += len(list.Items)
		}
	}
	Expect(listed).To(BeNumerically(">", 50), "objects of the %s", where)
}
