// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"fmt"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

// Error says why a machine's network cannot work on this host.
type Error struct {
	// Reason is one of the reasons of the condition NetworkDataValid, for example LinkUnresolved.
	Reason string
	// Message names the field, its value and what the user can do.
	Message string
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

func linkUnresolved(format string, args ...any) error {
	return &Error{Reason: infrav1.LinkUnresolvedReason, Message: fmt.Sprintf(format, args...)}
}

func addressInvalid(format string, args ...any) error {
	return &Error{Reason: infrav1.AddressInvalidReason, Message: fmt.Sprintf(format, args...)}
}
