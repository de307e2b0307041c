// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// hasBootGuard tells whether the table is loaded that the host drops by until the agent's guard is in force.
func hasBootGuard() (bool, error) {
	connection, err := nftables.New()
	if err != nil {
		return false, fmt.Errorf("asking for nftables: %w", err)
	}
	table, err := bootGuard(connection)
	return table != nil, err
}

// bootGuard finds the table; nil when there is none, as where the kernel has no nftables.
func bootGuard(connection *nftables.Conn) (*nftables.Table, error) {
	tables, err := connection.ListTablesOfFamily(nftables.TableFamilyINet)
	switch {
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.ENOENT):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("listing the tables of nftables: %w", err)
	}
	if i := slices.IndexFunc(tables, func(t *nftables.Table) bool { return t.Name == encryption.BootGuardTable }); i >= 0 {
		return tables[i], nil
	}
	return nil, nil
}

// removeBootGuard deletes the table. The host loads it again when it starts anew.
func removeBootGuard() error {
	connection, err := nftables.New()
	if err != nil {
		return fmt.Errorf("asking for nftables: %w", err)
	}
	table, err := bootGuard(connection)
	if err != nil || table == nil {
		return err
	}
	connection.DelTable(table)
	if err := connection.Flush(); err != nil {
		return fmt.Errorf("deleting table %s of nftables: %w", encryption.BootGuardTable, err)
	}
	return nil
}
