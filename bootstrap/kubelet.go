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
	// as systemd.exec(5) wants it in an EnvironmentFile. The kubelet takes the last --register-with-taints for all of them, and the flag
	// for registerWithTaints of its configuration file, so ours repeats what it finds there.
	kubeletScript = `#!/bin/sh
# From cluster-api-provider-edgemetal; see kubelet.service.d/20-edgemetal.conf.
set -euf
arguments=${KUBELET_EXTRA_ARGS:-} ours=$EDGEMETAL_KUBELET_ARGS taint=${EDGEMETAL_KUBELET_TAINT:-}

# Where no file sets KUBELET_EXTRA_ARGS, it holds ours.
fallback="$ours${taint:+ --register-with-taints=$taint}"
case " $arguments" in
*" $fallback") arguments=${arguments%"$fallback"} ;;
esac
arguments=${arguments% }

# given_taints sets taints to those of the flags, else to those of the configuration file.
given_taints() {
	taints='' given='' config='' flag=''
	for word in ${KUBELET_KUBECONFIG_ARGS:-} ${KUBELET_CONFIG_ARGS:-} ${KUBELET_KUBEADM_ARGS:-} $arguments; do
		word=${word#[\"\']} word=$flag${word%[\"\']} flag=''
		case $word in
		--register-with-taints=*) taints=${word#*=} given=yes ;;
		--config=*) config=${word#*=} ;;
		--register-with-taints | --config) flag=$word= ;;
		esac
	done
	if [ -z "$given" ] && [ -r "$config" ]; then config_taints <"$config"; fi
}

# config_taints reads a configuration file as kubeadm writes it.
config_taints() {
	inside='' key='' value='' effect=''
	while IFS= read -r line; do
		case $line in
		registerWithTaints:*) inside=yes ;;
		[!\ -]*) inside='' ;;
		esac
		[ -n "$inside" ] || continue
		line=${line#"${line%%[! ]*}"}
		case $line in
		"- "*) add_taint && line=${line#- } ;;
		esac
		text=${line#*: } text=${text#[\"\']} text=${text%[\"\']}
		case $line in
		"key: "*) key=$text ;;
		"value: "*) value=$text ;;
		"effect: "*) effect=$text ;;
		esac
	done
	add_taint
}

add_taint() {
	if [ -n "$key" ]; then taints="$taints,$key${value:+=$value}:$effect"; fi
	key='' value='' effect=''
}

if [ -n "$taint" ]; then
	given_taints
	merged=''
	IFS=,
	for given in $taints; do
		case $given in
		'' | "${taint%:*}":* | "${taint%:*}"=*) ;;
		*) merged="$merged$given," ;;
		esac
	done
	unset IFS
	ours="$ours --register-with-taints=$merged$taint"
fi
arguments="${arguments:+$arguments }$ours"
quoted=$(printf '%s' "$arguments" | sed 's/[\\"]/\\&/g')
mkdir -p /run/edgemetal
printf 'KUBELET_EXTRA_ARGS="%s"\n' "$quoted" > /run/edgemetal/kubelet.env
`
)

// kubeletPart gives the kubelet its provider ID and, when they are known, its node addresses; and a taint to register with, unless it is
// empty.
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
func kubeletPart(providerID string, addresses []netip.Addr, taint string) part {
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
			{path: kubeletDropInPath, mode: 0o644, content: kubeletDropIn(strings.Join(arguments, " "), taint)},
			{path: kubeletScriptPath, mode: 0o755, content: kubeletScript},
		},
		// systemd knows no drop-in that was written after it had read the unit.
		commands: []string{"if command -v systemctl >/dev/null; then systemctl daemon-reload; fi"},
	}
}

func kubeletDropIn(arguments, taint string) string {
	environment, all := "", arguments
	if taint != "" {
		environment = "Environment=\"EDGEMETAL_KUBELET_TAINT=" + taint + "\"\n"
		all += " --register-with-taints=" + taint
	}
	return fmt.Sprintf(`# From cluster-api-provider-edgemetal: appends the arguments below to KUBELET_EXTRA_ARGS,
# whichever of /etc/default/kubelet and /etc/sysconfig/kubelet sets it.
[Service]
Environment="EDGEMETAL_KUBELET_ARGS=%s"
%sEnvironment="KUBELET_EXTRA_ARGS=%s"
EnvironmentFile=-/run/edgemetal/kubelet.env
ExecStartPre=-/bin/sh -c 'rm -f /run/edgemetal/kubelet.env'
ExecStartPre=-/bin/sh %s
`, arguments, environment, all, kubeletScriptPath)
}
