// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package machine is a rack of simulated machines. A machine has a disk, NICs and a power switch; when it is
// on and an image was deployed to it, it boots from what the deployment left on it and from nothing else: the
// image and the config drive with user data, network data and metadata.
//
// Each machine has a directory: root/ is its disk, drive/ the config drive, console.log what a serial console
// would show, logs/ the logs of containers, machine.json what must survive a restart of the lab.
package machine
