// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package bootstrap

// startOverHook runs at the beginning of each boot, as a boothook: a bootcmd would take the place of one in the image's own configuration.
// It sets a host up from its start that has lost its power before the bootstrap data's commands began.
//
// What was not on disk by then is files that are empty or full of zeros: those of the host's network, which cloud-init writes in its
// first stage and not again on a later boot of the instance ("Event Denied" in its log), and those of write_files, which run once per
// instance. So cloud-init forgets the instance, and the host boots anew, at once: whatever went on would write down that it has seen the
// instance. cloud-init clean would take more with it, such as scripts of the image.
//
// The commands have begun when flushPart's mark is there, or the semaphore of the module that runs them (FileSemaphores in
// cloudinit/helpers.py), which images can do without. From then on nothing starts over: kubeadm is not to run twice.
//
// Three times are enough for a network that was lost. Where only other files may be, once is: a host that restarts itself while it is set
// up looks the same.
const startOverHook = `#cloud-boothook
#!/bin/sh
# From cluster-api-provider-edgemetal: a host that lost its power before the bootstrap data began is set up from its start.
instance=/var/lib/cloud/instance restarts=/etc/edgemetal/restarts lost='' times=''
if [ -e $instance/edgemetal-payload ] || [ -e $instance/sem/config_scripts_user ]; then exit 0; fi
if [ -e $restarts ]; then times=$(cat $restarts); fi
if [ -e $instance/edgemetal-begun ] && [ -z "$times" ]; then lost=' files may be incomplete;'; fi
for file in /etc/netplan/*cloud-init* /etc/systemd/network/*cloud-init* /etc/network/interfaces.d/*cloud-init* \
  /etc/NetworkManager/system-connections/*cloud-init* /etc/sysconfig/network/ifcfg-* /etc/sysconfig/network-scripts/ifcfg-*; do
  if [ -f "$file" ] && ! grep -q '[a-zA-Z]' "$file"; then lost="$lost $file is empty;"; fi
done
say() {
  echo "edgemetal: power was lost before the bootstrap data began:$1"
  echo "edgemetal: power was lost before the bootstrap data began:$1" 2>/dev/null >/dev/console
}
if [ -n "$lost" ] && [ "$times" != xxx ] && mkdir -p /etc/edgemetal && printf x >> $restarts; then
  say "$lost starting over"
  rm -rf /var/lib/cloud/data /var/lib/cloud/instance /var/lib/cloud/instances
  sync
  systemctl reboot --force --force || reboot -f
  exit 1
elif [ -n "$lost" ]; then
  say "$lost going on, as starting over did not help or cannot be counted in $restarts"
fi
touch $instance/edgemetal-begun
sync
`

// flushPart has everything on disk before the bootstrap data's commands begin, and marks that nothing starts over from there on.
func flushPart() part {
	return part{commands: []string{"{ sync && touch /var/lib/cloud/instance/edgemetal-payload && rm -f /etc/edgemetal/restarts && sync; }"}}
}
