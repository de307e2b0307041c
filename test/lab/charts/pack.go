// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package charts

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// Names of the charts.
const (
	Definitions = "crd.projectcalico.org.v1"
	Operator    = "tigera-operator"
)

// DirVariable names the environment variable with the folder of the genuine charts.
const DirVariable = "EDGEMETAL_CHARTS_DIR"

//go:embed operator
var operator embed.FS

// Key of a chart's archive in the result of Pack, and in a Secret.
func Key(name, version string) string { return name + "-" + version + ".tgz" }

// Pack both charts in a version: the archives by Key. dir is a folder with the genuine charts as folders of these names, as the
// folder charts of projectcalico/calico; the stand-ins when empty.
func Pack(version, dir string) (map[string][]byte, error) {
	archives := map[string][]byte{}
	for name, standIn := range map[string]func() (*chart.Chart, error){Definitions: definitionsChart, Operator: operatorChart} {
		load := standIn
		if dir != "" {
			load = func() (*chart.Chart, error) { return loader.LoadDir(filepath.Join(dir, name)) }
		}
		loaded, err := load()
		if err != nil {
			return nil, fmt.Errorf("loading chart %s: %w", name, err)
		}
		loaded.Metadata.Version, loaded.Metadata.AppVersion = version, version
		if archives[Key(name, version)], err = save(loaded); err != nil {
			return nil, fmt.Errorf("packing chart %s: %w", name, err)
		}
	}
	return archives, nil
}

func save(c *chart.Chart) (data []byte, reterr error) {
	folder, err := os.MkdirTemp("", "charts-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err := os.RemoveAll(folder); reterr == nil {
			reterr = err
		}
	}()
	path, err := chartutil.Save(c, folder)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// definitionsChart holds one template for each kind, as the genuine one.
func definitionsChart() (*chart.Chart, error) {
	c := &chart.Chart{Metadata: &chart.Metadata{
		APIVersion: chart.APIVersionV2, Name: Definitions, Version: "v0.0.0", Description: "Stand-in for Calico's custom resource definitions",
	}}
	for _, k := range kinds() {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(k.definition())
		if err != nil {
			return nil, err
		}
		delete(content, "status")
		data, err := yaml.Marshal(content)
		if err != nil {
			return nil, err
		}
		c.Templates = append(c.Templates, &common.File{Name: "templates/" + k.group + "_" + k.plural + ".yaml", Data: data})
	}
	return c, nil
}

func operatorChart() (*chart.Chart, error) {
	var files []*archive.BufferedFile
	err := fs.WalkDir(operator, "operator", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := operator.ReadFile(path)
		files = append(files, &archive.BufferedFile{Name: strings.TrimPrefix(path, "operator/"), Data: data})
		return err
	})
	if err != nil {
		return nil, err
	}
	return loader.LoadFiles(files)
}
