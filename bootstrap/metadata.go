// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"encoding/json"
	"fmt"
)

// hostMetaData is meta_data.json. Bootstrap data that is a template refers to it as ds.meta_data, for example
// {{ ds.meta_data.local_hostname }}. baremetal-operator adds metal3-name and metal3-namespace.
type hostMetaData struct {
	// UUID is cloud-init's instance ID.
	UUID string `json:"uuid"`
	// Hostname is what cloud-init takes local-hostname from; the other spellings are those that templates use.
	Hostname           string `json:"hostname"`
	LocalHostname      string `json:"local-hostname"`
	LocalHostnameAlias string `json:"local_hostname"`
	Name               string `json:"name"`
	// AvailabilityZone is what cloud-init reads v1.availability_zone from.
	AvailabilityZone string `json:"availability_zone,omitempty"`
	ProviderID       string `json:"provider_id"`
	ClusterName      string `json:"cluster_name"`
	Namespace        string `json:"namespace"`
	MachineName      string `json:"machine_name"`
}

func metaData(in Input) ([]byte, error) {
	out, err := json.MarshalIndent(hostMetaData{
		UUID:               in.InstanceID,
		Hostname:           in.Host,
		LocalHostname:      in.Host,
		LocalHostnameAlias: in.Host,
		Name:               in.Host,
		AvailabilityZone:   in.FailureDomain,
		ProviderID:         in.ProviderID,
		ClusterName:        in.Cluster,
		Namespace:          in.Namespace,
		MachineName:        in.Machine,
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("marshalling metadata: %w", err)
	}
	return append(out, '\n'), nil
}
