// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package charts

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/engine"
	release "helm.sh/helm/v4/pkg/release/v1"
	releaseutil "helm.sh/helm/v4/pkg/release/v1/util"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// Release is what a chart is rendered for.
type Release struct {
	// Name and Namespace of the release.
	Name, Namespace string
	// Values on top of the chart's own.
	Values map[string]any
	// KubeVersion of the cluster, for example v1.36.3.
	KubeVersion string
}

// Render a chart to objects: those of its folder crds, and those of its templates without hooks. Objects may lack a namespace; it
// is then the release's if their kind has one.
func Render(archive Archive, r Release) ([]*unstructured.Unstructured, error) {
	loaded, err := loader.LoadArchive(bytes.NewReader(archive.Data))
	if err != nil {
		return nil, fmt.Errorf("reading the chart's archive: %w", err)
	}
	files, err := execute(loaded, r)
	if err != nil {
		return nil, fmt.Errorf("rendering chart %s: %w", loaded.Name(), err)
	}
	hooks, manifests, err := releaseutil.SortManifests(files, nil, releaseutil.InstallOrder)
	if err != nil {
		return nil, fmt.Errorf("reading what chart %s rendered: %w", loaded.Name(), err)
	}
	if err := refuseHooks(loaded.Name(), hooks); err != nil {
		return nil, err
	}
	var documents []string
	for _, crd := range loaded.CRDObjects() {
		split := releaseutil.SplitManifests(string(crd.File.Data))
		for i := range len(split) {
			documents = append(documents, split[fmt.Sprintf("manifest-%d", i)])
		}
	}
	for _, manifest := range manifests {
		documents = append(documents, manifest.Content)
	}
	return decode(loaded.Name(), documents)
}

func execute(loaded *chart.Chart, r Release) (map[string]string, error) {
	version, err := common.ParseKubeVersion(r.KubeVersion)
	if err != nil {
		return nil, fmt.Errorf("reading the version of the cluster: %w", err)
	}
	if want := loaded.Metadata.KubeVersion; want != "" && !chartutil.IsCompatibleRange(want, version.String()) {
		return nil, fmt.Errorf("it needs Kubernetes %s, the cluster has %s", want, version)
	}
	if err := chartutil.ProcessDependencies(loaded, r.Values); err != nil {
		return nil, fmt.Errorf("choosing its dependencies: %w", err)
	}
	capabilities := common.DefaultCapabilities.Copy()
	capabilities.KubeVersion = *version
	values, err := util.ToRenderValues(loaded, r.Values, common.ReleaseOptions{Name: r.Name, Namespace: r.Namespace, Revision: 1, IsInstall: true}, capabilities)
	if err != nil {
		return nil, fmt.Errorf("merging values: %w", err)
	}
	files, err := engine.Engine{}.Render(loaded, values)
	if err != nil {
		return nil, err
	}
	for name := range files {
		if strings.HasSuffix(name, "NOTES.txt") {
			delete(files, name)
		}
	}
	return files, nil
}

// refuseHooks that would have to run. A release is never uninstalled, rolled back or tested here.
func refuseHooks(name string, hooks []*release.Hook) error {
	harmless := []release.HookEvent{release.HookPreDelete, release.HookPostDelete, release.HookPreRollback, release.HookPostRollback, release.HookTest}
	for _, hook := range hooks {
		for _, event := range hook.Events {
			if !slices.Contains(harmless, event) {
				return fmt.Errorf("chart %s has the hook %s %s for %s, which is not supported; use Calico's own charts", name, hook.Kind, hook.Name, event)
			}
		}
	}
	return nil
}

func decode(name string, documents []string) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	for _, document := range documents {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &object.Object); err != nil {
			return nil, fmt.Errorf("reading an object of chart %s: %w", name, err)
		}
		switch {
		case len(object.Object) == 0: // Only comments.
		case object.IsList():
			err := object.EachListItem(func(item runtime.Object) error {
				if each, ok := item.(*unstructured.Unstructured); ok {
					objects = append(objects, each)
				}
				return nil
			})
			if err != nil {
				return nil, fmt.Errorf("reading a list of chart %s: %w", name, err)
			}
		default:
			objects = append(objects, object)
		}
	}
	for _, object := range objects {
		if object.GetKind() == "" || object.GetAPIVersion() == "" || object.GetName() == "" {
			return nil, fmt.Errorf("chart %s rendered an object without apiVersion, kind or name", name)
		}
	}
	return objects, nil
}
