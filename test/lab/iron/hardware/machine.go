// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package hardware

import bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

// Machine tells what is in a machine.
type Machine struct {
	// UID identifies the machine for good.
	UID      string                 `json:"uid"`
	Hardware *bmov1.HardwareDetails `json:"hardware"`
	NICs     []NIC                  `json:"nics"`
}

// Drive is the config drive: documents as they are on it; empty ones are not there. Network data and metadata are JSON.
type Drive struct {
	UserData    []byte
	NetworkData []byte
	MetaData    []byte
}
