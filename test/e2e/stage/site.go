// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab"
)

const (
	firstEndpoint = 10 // of the site network's addresses, one per site
	firstAddress  = 20
	addresses     = 20 // per site
	maxSites      = 9
)

// Site is a namespace of a stage, with hosts and clusters.
type Site struct {
	*Stage
	Namespace string

	number uint8
	free   map[string]freeHost
}

// NewSite makes a namespace, for a BeforeAll or BeforeEach. Its clusters are deleted at the end; when the spec has failed, the
// report gets what the site looked like.
func (s *Stage) NewSite(ctx context.Context, namespace string) *Site {
	GinkgoHelper()
	site := s.SiteIn(namespace)
	Expect(s.Client().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})).To(Succeed())
	DeferCleanup(site.close)
	return site
}

// SiteIn makes a site of a namespace that somebody else takes care of.
func (s *Stage) SiteIn(namespace string) *Site {
	GinkgoHelper()
	Expect(s.sites).To(BeNumerically("<", maxSites), "the site network has no addresses for more sites")
	site := &Site{Stage: s, Namespace: namespace, number: s.sites, free: map[string]freeHost{}}
	s.sites++
	return site
}

// Continue goes on with a site whose objects were moved here from another stage with the same hosts.
func (s *Stage) Continue(site *Site) *Site {
	continued := &Site{Stage: s, Namespace: site.Namespace, number: site.number, free: site.free}
	DeferCleanup(continued.close)
	return continued
}

func (s *Site) close(ctx context.Context) {
	if !CurrentSpecReport().Failed() {
		return
	}
	s.failed = true
	s.explain(ctx)
	// The machines would go on taking time from the next specs.
	_, err := s.Kubectl(ctx, "delete", "clusters", "--all", "--namespace", s.Namespace, "--wait=false")
	if err != nil {
		GinkgoWriter.Println(err)
	}
}

// Key of an object of the site.
func (s *Site) Key(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: s.Namespace, Name: name}
}

// Endpoint is the address of the control plane of the site's cluster.
func (s *Site) Endpoint() string { return s.Site.Host(firstEndpoint + s.number).String() }

// Order says which cluster to generate.
type Order struct {
	Name string
	// Flavor of the template; empty for the default one.
	Flavor       string
	ControlPlane int
	Workers      int
	// Variables of the template beside those of the site.
	Variables map[string]string
	// Encrypted leaves the template's dataplane as it is. Otherwise the cluster has none, and is up sooner.
	Encrypted bool
}

// Variables of the cluster templates that are the site's own.
func (s *Site) Variables() map[string]string {
	first := firstAddress + s.number*addresses
	return map[string]string{
		"EDGEMETAL_CONTROL_PLANE_ENDPOINT_HOST": s.Endpoint(),
		"EDGEMETAL_NODE_ADDRESSES":              s.Site.Host(first).String() + "-" + s.Site.Host(first+addresses-1).String(),
	}
}

// Generate is `clusterctl generate cluster` for the site.
func (s *Site) Generate(ctx context.Context, o Order) string {
	GinkgoHelper()
	variables := s.Variables()
	maps.Copy(variables, o.Variables)
	args := []string{
		"generate", "cluster", o.Name, "--target-namespace", s.Namespace, "--infrastructure", "edgemetal",
		"--kubernetes-version", lab.KubernetesVersion,
		"--control-plane-machine-count", strconv.Itoa(o.ControlPlane), "--worker-machine-count", strconv.Itoa(o.Workers),
	}
	if o.Flavor != "" {
		args = append(args, "--flavor", o.Flavor)
	}
	manifest, err := s.RunClusterctl(ctx, lab.Command{Args: args, Variables: variables})
	Expect(err).NotTo(HaveOccurred())
	if o.Encrypted {
		return manifest
	}
	return withoutDataplane(manifest)
}

// Create is `clusterctl generate cluster | kubectl apply`.
func (s *Site) Create(ctx context.Context, o Order) {
	GinkgoHelper()
	Expect(s.Apply(ctx, s.Generate(ctx, o))).To(Succeed())
}

// Scale is `kubectl scale`, for example of "machinedeployment/edge-1-workers".
func (s *Site) Scale(ctx context.Context, what string, replicas int) {
	GinkgoHelper()
	s.Do(ctx, "scale", what, "--replicas", strconv.Itoa(replicas))
}

// Delete is `kubectl delete`, for example of "cluster/edge-1". It returns when the object is gone.
func (s *Site) Delete(ctx context.Context, what string) {
	GinkgoHelper()
	s.Do(ctx, "delete", what, "--timeout", WaitTimeout.String())
}

// Do runs kubectl in the site's namespace.
func (s *Site) Do(ctx context.Context, args ...string) string {
	GinkgoHelper()
	printed, err := s.Kubectl(ctx, append([]string{"--namespace", s.Namespace}, args...)...)
	Expect(err).NotTo(HaveOccurred())
	return printed
}

// Describe is `clusterctl describe cluster` with all conditions of the kinds.
func (s *Site) Describe(ctx context.Context, cluster string, kinds ...string) string {
	GinkgoHelper()
	printed, err := s.Clusterctl(ctx, "describe", "cluster", cluster, "--namespace", s.Namespace,
		"--show-conditions", strings.Join(kinds, ","), "--echo", "--grouping=false")
	Expect(err).NotTo(HaveOccurred())
	return printed
}

func (s *Site) String() string { return fmt.Sprintf("site %s", s.Namespace) }
