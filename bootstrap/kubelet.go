// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"fmt"
	"net/netip"
	"strings"
)

const (
	kubeletDropInPath = "/etc/systemd/system/kubelet.service.d/20-edgemetal.conf"
	kubeletScriptPath = "/etc/edgemetal/kubelet-env.sh"

	// kubeletScript appends our arguments to the KUBELET_EXTRA_ARGS that systemd read from other files. The result is quoted
	// as systemd.exec(5) wants it in an EnvironmentFile.
	kubeletScript = `#!/bin/sh
# From cluster-api-provider-edgemetal; see kubelet.service.d/20-edgemetal.conf.
set -eu
case " ${KUBELET_EXTRA_ARGS:-}" in
*" $EDGEMETAL_KUBELET_ARGS") arguments=$KUBELET_EXTRA_ARGS ;;
*) arguments="${KUBELET_EXTRA_ARGS:-} $EDGEMETAL_KUBELET_ARGS" ;;
esac
quoted=$(printf '%s' "$arguments" | sed 's/[\\"]/\\&/g')
mkdir -p /run/edgemetal
printf 'KUBELET_EXTRA_ARGS="%s"\n' "$quoted" > /run/edgemetal/kubelet.env
`
)

// kubeletPart gives the kubelet its provider ID and, when they are known, its node addresses.
//
// The unit of the Kubernetes packages and of Cluster API's images starts the kubelet with $KUBELET_EXTRA_ARGS at the end of its
// command line, and reads that variable from /etc/default/kubelet or /etc/sysconfig/kubelet. These files exist and set it to
// nothing, and a file beats Environment=. So the drop-in has systemd, each time before the kubelet starts:
//  1. forget the previous result,
//  2. run our script, to which systemd passes the variable as all other files set it, and which writes it with our arguments
//     appended to a file that systemd reads for the kubelet itself (EnvironmentFile in systemd.exec(5)).
//
// Whatever users put into these files stays, also when they change it later. Ours come last, and the last one of a flag counts. Environment=
// serves where no file sets the variable. The drop-in names no binary and waits for no unit: it works wherever the kubelet lies, also
// when it is installed later, and does nothing on hosts without kubelet.service, such as those of k3s and RKE2.
func kubeletPart(providerID string, addresses []netip.Addr) part {
	arguments := []string{"--provider-id=" + providerID}
	if len(addresses) > 0 {
		list := make([]string, 0, len(addresses))
		for _, address := range addresses {
			list = append(list, address.String())
		}
		arguments = append(arguments, "--node-ip="+strings.Join(list, ","))
	}
	return part{
		files: []file{
			{path: kubeletDropInPath, mode: 0o644, content: kubeletDropIn(strings.Join(arguments, " "))},
			{path: kubeletScriptPath, mode: 0o755, content: kubeletScript},
		},
		// systemd knows no drop-in that was written after it had read the unit.
		commands: []string{"if command -v systemctl >/dev/null; then systemctl daemon-reload; fi"},
	}
}

func kubeletDropIn(arguments string) string {
	return fmt.Sprintf(`# From cluster-api-provider-edgemetal: appends the arguments below to KUBELET_EXTRA_ARGS,
# whichever of /etc/default/kubelet and /etc/sysconfig/kubelet sets it.
[Service]
Environment="EDGEMETAL_KUBELET_ARGS=%[1]s"
Environment="KUBELET_EXTRA_ARGS=%[1]s"
EnvironmentFile=-/run/edgemetal/kubelet.env
ExecStartPre=-/bin/sh -c 'rm -f /run/edgemetal/kubelet.env'
ExecStartPre=-/bin/sh %[2]s
`, arguments, kubeletScriptPath)
}
