// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"errors"
	"fmt"
)

var (
	// ErrFormatUnsupported is returned, wrapped, for bootstrap data that cloud-init would not run, such as Ignition.
	ErrFormatUnsupported = errors.New("bootstrap data format is not supported")

	// ErrPayloadEmpty is returned, wrapped, for bootstrap data without content.
	ErrPayloadEmpty = errors.New("bootstrap data is empty")
)

// SizeError is returned when the documents are larger than the Secret that carries them may be.
type SizeError struct {
	// Size of the documents and Limit, both in bytes.
	Size, Limit int
}

// Error names size, limit and what can be done.
func (e *SizeError) Error() string {
	return fmt.Sprintf("user data, network data and metadata are %d bytes together and a Secret holds at most %d; move files from the bootstrap configuration into the image, or have them fetched on first boot", e.Size, e.Limit)
}
