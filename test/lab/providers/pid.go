// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package providers

import "fmt"

// Pid is the process id of a provider's manager; it changes when the manager is restarted. An error says that none
// runs now.
func (n *Node) Pid(provider string) (int, error) {
	for _, c := range n.running() {
		if c.process.Name != provider {
			continue
		}
		c.mu.Lock()
		current := c.current
		c.mu.Unlock()
		if current != nil {
			return current.Pid(), nil
		}
	}
	return 0, fmt.Errorf("no pod of provider %q runs", provider)
}
