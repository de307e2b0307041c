// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package apisocket serves VPP's binary API over a UNIX socket, as VPP's own socket server does
// (vpp/src/vlibmemory/socket_api.c): it frames and numbers messages and hands them to a Handler. What the messages do is the
// Handler's business.
package apisocket
