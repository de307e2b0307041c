// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package support

import (
	"fmt"

	"k8s.io/apimachinery/pkg/util/version"
)

// oldest Calico whose charts this provider can install: since 3.32 the CRDs are a chart of their own.
const oldest = "v3.32.0"

// versionRules are about Calico's versions.
func versionRules() []Rule {
	return []Rule{
		{
			When: "Calico before v3.32", Field: fieldCalico + ".version",
			Why:    "its CRDs are no chart of their own",
			Fix:    "use " + oldest + " or later",
			broken: tooOld,
		},
		{
			When: "Calico-VPP of another minor version than Calico", Field: fieldCalico + ".vppVersion",
			Why:    "Calico-VPP A.B.x works with Calico A.B.y only",
			Fix:    "set both, to the same minor version",
			broken: versionMismatch,
		},
	}
}

func tooOld(v Values) []string {
	if !v.installs() {
		return nil
	}
	calico, err := version.ParseSemantic(v.CalicoVersion)
	if err != nil || calico.LessThan(version.MustParseSemantic(oldest)) {
		return []string{v.CalicoVersion}
	}
	return nil
}

func versionMismatch(v Values) []string {
	if !v.vpp() {
		return nil
	}
	calico, err := version.ParseSemantic(v.CalicoVersion)
	vpp, vppErr := version.ParseSemantic(v.VPPVersion)
	if err != nil || vppErr != nil || calico.Major() != vpp.Major() || calico.Minor() != vpp.Minor() {
		return []string{fmt.Sprintf("Calico-VPP %s, Calico %s", v.VPPVersion, v.CalicoVersion)}
	}
	return nil
}
