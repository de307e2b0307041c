// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package sitenet is the network of a site of virtual hosts, in user space: it touches no interface of this
// machine, and nothing of it leaves this process but what DialContext and the proxy are asked for.
//
// It is a switch with a gateway. NICs are cables to the switch's unix socket (Socket), in QEMU's
//
//	-netdev stream,server=off,addr.type=unix,addr.path=<socket>
//
// The switch learns addresses and passes frames up to its MTU (9000), with or without VLAN tags, as they come:
// each port is a trunk of all VLANs. It speaks LACP as a real one does: ports of one bond become one link
// aggregation group, whose frames go through one port at a time. Other frames for bridges (01:80:C2:00:00:0x)
// end here.
//
// The gateway is in the untagged network. It leases addresses of a range for good (dhcp.json), answers name
// queries with NXDOMAIN, pings and nothing else; it forwards nowhere. Programs outside reach the hosts from it:
// Go code by DialContext, others with HTTPS_PROXY=http://<ProxyAddr>, an HTTP CONNECT proxy that dials IP
// addresses of the site alone.
package sitenet
