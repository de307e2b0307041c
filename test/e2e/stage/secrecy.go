// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// Needles are what must be nowhere but in Secrets.
type Needles struct {
	// Keys and Tokens count where the texts come from.
	Keys, Tokens int
	cluster      string
	// texts by where they come from.
	texts map[string]string
}

// Secrets finds the private keys and bootstrap tokens of a cluster in the Secrets of its site and of the cluster.
func (s *Site) Secrets(ctx context.Context, cluster string) *Needles {
	GinkgoHelper()
	n := &Needles{cluster: cluster, texts: map[string]string{}}
	stored := &corev1.SecretList{}
	Expect(s.Client().List(ctx, stored, client.InNamespace(s.Namespace))).To(Succeed())
	for _, secret := range stored.Items {
		for name, value := range secret.Data {
			n.gather(secret.Name+"/"+name, value)
		}
	}
	n.expectIn(stored)
	tokens := &corev1.SecretList{}
	Expect(s.Workload(ctx, cluster).List(ctx, tokens, client.InNamespace("kube-system"))).To(Succeed())
	for _, secret := range tokens.Items {
		if secret.Type == "bootstrap.kubernetes.io/token" {
			n.Tokens++
			n.texts[secret.Name] = string(secret.Data["token-secret"])
		}
	}
	return n
}

func (n *Needles) gather(from string, value []byte) {
	// A PEM block as it stands in a file or, indented, in cloud-config.
	privateKey := regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----`)
	// A bootstrap token of kubeadm.
	token := regexp.MustCompile(`\b[a-z0-9]{6}\.([a-z0-9]{16})\b`)
	for i, block := range privateKey.FindAll(value, -1) {
		n.addKey(fmt.Sprintf("%s[%d]", from, i), block)
	}
	for i, found := range token.FindAllSubmatch(value, -1) {
		n.Tokens++
		n.texts[fmt.Sprintf("%s token %d", from, i)] = string(found[1])
	}
	var kubeconfig struct {
		Users []struct {
			User struct {
				Key []byte `json:"client-key-data"`
			} `json:"user"`
		} `json:"users"`
	}
	if strings.HasSuffix(from, "-kubeconfig/value") && yaml.Unmarshal(value, &kubeconfig) == nil {
		for i, user := range kubeconfig.Users {
			n.addKey(fmt.Sprintf("%s user %d", from, i), user.User.Key)
		}
	}
}

// addKey adds a line from the middle of a key, as it is and as it stands in the JSON of a Secret.
func (n *Needles) addKey(from string, block []byte) {
	GinkgoHelper()
	var lines []string
	for line := range strings.Lines(string(block)) {
		lines = append(lines, strings.TrimSpace(line))
	}
	decoded, _ := pem.Decode([]byte(strings.Join(lines, "\n") + "\n"))
	Expect(decoded).NotTo(BeNil(), from)
	Expect(len(lines)).To(BeNumerically(">", 3), from)
	n.Keys++
	n.texts[from] = lines[len(lines)/2]
	// Three bytes become four characters: whole lines encode to the same text wherever they stand, after up to two bytes.
	for shift := range 3 {
		n.texts[fmt.Sprintf("%s in base64, shifted by %d", from, shift)] = base64.StdEncoding.EncodeToString([]byte(lines[len(lines)/2][shift:]))[:48]
	}
}

// expectIn makes sure that the search finds what it looks for where it must be.
func (n *Needles) expectIn(secrets *corev1.SecretList) {
	GinkgoHelper()
	content, err := json.Marshal(secrets)
	Expect(err).NotTo(HaveOccurred())
	found := map[string]bool{}
	for from, text := range n.texts {
		if name, _, shifted := strings.Cut(from, " in base64"); shifted && bytes.Contains(content, []byte(text)) {
			found[name] = true
		}
	}
	for _, ca := range []string{"ca", "etcd", "proxy", "sa"} {
		Expect(found).To(HaveKey(n.cluster + "-" + ca + "/tls.key[0]"))
	}
}

// ExpectNowhere looks into everything that people read and that is not a Secret: our manager's log, events, ConfigMaps and all
// objects of Cluster API, Metal3 and ours.
func (n *Needles) ExpectNowhere(ctx context.Context, s *Site) {
	GinkgoHelper()
	for name, content := range haystacks(ctx, s) {
		Expect(content).NotTo(BeEmpty(), name)
		Expect(bytes.Contains(content, []byte("PRIVATE KEY"))).To(BeFalse(), "%s holds a private key", name)
		// The beginning of a key, as fmt prints bytes.
		Expect(bytes.Contains(content, []byte("45 45 45 45 45 66 69 71 73 78 32"))).To(BeFalse(), "%s holds a PEM block as numbers", name)
		for from, text := range n.texts {
			Expect(bytes.Contains(content, []byte(text))).To(BeFalse(), "%s holds a secret from %s", name, from)
		}
	}
}

func haystacks(ctx context.Context, s *Site) map[string][]byte {
	GinkgoHelper()
	found := map[string][]byte{}
	logs, err := filepath.Glob(s.ManagerLog() + "*")
	Expect(err).NotTo(HaveOccurred())
	Expect(logs).NotTo(BeEmpty())
	for _, log := range logs {
		found[log], err = os.ReadFile(log)
		Expect(err).NotTo(HaveOccurred())
	}
	for _, kind := range []schema.GroupVersionKind{
		{Version: "v1", Kind: "Event"},
		{Version: "v1", Kind: "ConfigMap"},
		{Version: "v1", Kind: "Pod"},
		{Group: "cluster.x-k8s.io", Version: "v1beta2", Kind: "Cluster"},
		{Group: "cluster.x-k8s.io", Version: "v1beta2", Kind: "Machine"},
		{Group: "infrastructure.cluster.x-k8s.io", Version: "v1alpha1", Kind: "EdgeCluster"},
		{Group: "infrastructure.cluster.x-k8s.io", Version: "v1alpha1", Kind: "EdgeMachine"},
		{Group: "metal3.io", Version: "v1alpha1", Kind: "BareMetalHost"},
	} {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(kind)
		Expect(s.Client().List(ctx, list)).To(Succeed())
		Expect(list.Items).NotTo(BeEmpty(), kind.Kind)
		found[kind.Kind], err = json.Marshal(list)
		Expect(err).NotTo(HaveOccurred())
	}
	return found
}
