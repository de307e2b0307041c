// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package bootstrap

// startOverCommand runs at the beginning of each boot, as a bootcmd. It sets a host up from its start that has lost its power before the
// bootstrap data's commands began.
//
// What was not on disk by then is empty files: those of the host's network, which cloud-init writes in its first stage and not again on
// a later boot of the instance ("Event Denied" in its log), and those of write_files, which run once per instance. So cloud-init forgets
// the instance, and the host boots anew, at once: whatever went on would write down that it has seen the instance. cloud-init clean
// would take more with it, such as scripts of the image.
//
// The commands have begun when the semaphore of scripts_user is there (FileSemaphores in cloudinit/helpers.py). From then on nothing
// starts over: kubeadm is not to run twice. Three times are enough for any power cut; a host that restarts itself while it is set up would
// otherwise do so for ever.
const startOverCommand = `# From cluster-api-provider-edgemetal: a host that lost its power before the bootstrap data began is set up from its start.
(
  instance=/var/lib/cloud/instance restarts=/etc/edgemetal/restarts lost='' times=''
  [ ! -e $instance/sem/config_scripts_user ] || exit 0
  for file in /etc/netplan/*cloud-init* /etc/systemd/network/*cloud-init* /etc/network/interfaces.d/*cloud-init* \
    /etc/NetworkManager/system-connections/*cloud-init* /etc/sysconfig/network/ifcfg-* /etc/sysconfig/network-scripts/ifcfg-*; do
    if [ -f "$file" ] && [ ! -s "$file" ]; then lost="$lost $file is empty;"; fi
  done
  if [ -e $instance/edgemetal-begun ]; then lost="$lost files may be incomplete;"; fi
  if [ -e $restarts ]; then times=$(cat $restarts); fi
  if [ -n "$lost" ] && [ "$times" = xxx ]; then
    echo "edgemetal: power was lost before the bootstrap data began:$lost going on, since starting over three times did not help"
  elif [ -n "$lost" ]; then
    echo "edgemetal: power was lost before the bootstrap data began:$lost starting over"
    mkdir -p /etc/edgemetal
    printf x >> $restarts
    rm -rf /var/lib/cloud/instance /var/lib/cloud/instances /var/lib/cloud/data
    sync
    systemctl reboot --force --force
  fi
  touch $instance/edgemetal-begun
  sync
)
`

// flushPart has everything on disk before the bootstrap data's commands begin, from where on nothing starts over.
func flushPart() part { return part{commands: []string{"sync"}} }
