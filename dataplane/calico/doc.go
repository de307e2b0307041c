// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package calico renders what has to be in a workload cluster for Calico with VPP, eBPF or Linux's packet filters, and for the
// node agent: an ordered plan of charts, objects and copies of Secrets, with what to wait for between the steps.
//
// It is pure: the same input gives the same plan. No key, password or other secret passes through it; the plan only says which
// Secret has to be copied where.
//
// Facts about Calico come from projectcalico/calico v3.32.1, tigera/operator v1.42.3 and projectcalico/vpp-dataplane v3.32.0.
package calico
