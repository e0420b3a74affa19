# shellcheck shell=bash disable=SC2016,SC2153
# Test guests. Both write to their disk all the time and say on the serial console, at every boot,
# "@MARKER <marker> boots=<n> seq=<n>": marker, count of boots and write counter are read from the disk.
#
#   tick   one boot sector of code (guest/boot.S): boots from its own disk in 0.1 s, so its marker proves
#          that a restored disk boots. Typed "s" it answers "@SEQ <hex>". 16 MiB of memory.
#   lin    a distribution's kernel, ext4 and the QEMU guest agent (guest/init): boots in 2 to 8 s.
#          Typed "seq", "write N MIB", "sum N", "fsck", "poweroff". 128 MiB of memory.

# make_image tick|lin MARKER MIB FILE : a raw disk.
make_image() {
  local kind=$1 marker=$2 mib=$3 file=$4
  truncate -s "${mib}M" "$file"
  case $kind in
    tick)
      dd if="$GUEST/boot.bin" of="$file" conv=notrunc status=none
      printf '%.31s' "$marker" | dd of="$file" bs=512 seek=1 conv=notrunc status=none
      ;;
    lin)
      mkdir "$file.tree"
      echo "$marker" >"$file.tree/marker"
      mke2fs -q -F -t ext4 -d "$file.tree" "$file"
      rm -r "$file.tree"
      ;;
    *) die "no guest of kind '$kind': tick or lin" ;;
  esac
}

# domain_xml HOST KIND NAME FORMAT : the domain type is qemu, that is software emulation, on purpose:
# the lab must behave the same on every machine, and a /dev/kvm that opens is not always one that runs.
domain_xml() {
  local host=$1 kind=$2 name=$3 format=$4 bridge guest memory=16 boot="<boot dev='hd'/>" agent='' nic=''
  bridge=$(bridge_of "$host")
  guest=$(guest_of "$host")
  [ -n "$bridge" ] && nic="<interface type='bridge'><source bridge='$bridge'/><model type='virtio'/><rom enabled='no'/></interface>"
  if [ "$kind" = lin ]; then
    memory=128
    boot="<kernel>$guest/vmlinuz</kernel><initrd>$guest/initrd</initrd><cmdline>console=ttyS0 quiet mitigations=off tsc=reliable no_timer_check cryptomgr.notests random.trust_cpu=on lpj=4000000</cmdline>"
    agent="<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
  fi
  cat <<X
<domain type='qemu'>
  <name>$name</name>
  <memory unit='MiB'>$memory</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type>$boot</os>
  <features><acpi/></features>
  <cpu mode='custom' match='exact'><model fallback='forbid'>qemu64</model></cpu>
  <clock offset='utc'/>
  <on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='$format' discard='unmap'/><source file='$(images_of "$host")/$name.$format'/><target dev='vda' bus='virtio'/></disk>
    $nic
    <serial type='unix'><source mode='bind' path='$(run_of "$host")/$name.tty'/><log file='$(log_of "$host")/$name.console' append='on'/></serial>
    $agent
    <controller type='usb' model='none'/><memballoon model='none'/><video><model type='none'/></video>
  </devices>
</domain>
X
}

# guest HOST KIND NAME MARKER [MIB [qcow2|raw]] : make the disk on the host and define the VM, shut off.
guest() {
  local host=$1 kind=$2 name=$3 marker=$4 mib=${5:-64} format=${6:-qcow2} file
  file=$DRS_LAB/$host/images/$name.raw
  make_image "$kind" "$marker" "$mib" "$file"
  if [ "$format" = qcow2 ]; then
    on_host "$host" 'qemu-img convert -f raw -O qcow2 "$1.raw" "$1.qcow2" && rm "$1.raw"' "$(images_of "$host")/$name"
  fi
  domain_xml "$host" "$kind" "$name" "$format" | on_host "$host" 'virsh -q define /dev/stdin'
}

# The console is where the VM's own definition says, on whichever host it runs now. A line counts once it
# is whole. This script runs on the host.
ON_CONSOLE='
xml=$(virsh dumpxml "$1") || exit 1
console=$(printf "%s\n" "$xml" | sed -n "s/.*<log file=.\([^ ]*\). append.*/\1/p" | head -n 1)
tty=$(printf "%s\n" "$xml" | sed -n "s/.*<source mode=.bind. path=.\([^ ]*\.tty\).\/>.*/\1/p" | head -n 1)
seen=$2
if [ -n "$4" ]; then
  seen=$(wc -l <"$console")
  printf "%s\n" "$4" | nc -UN -w1 "$tty" >/dev/null
fi
i=0
while [ $i -lt 600 ]; do
  line=$(head -n "$(wc -l <"$console")" "$console" | tail -n "+$((seen + 1))" | grep -aE -- "$3" | tail -n 1 | tr -d "\r")
  [ -n "$line" ] && printf "%s\n" "$line" && exit 0
  i=$((i + 1))
  sleep 0.1
done
echo "nothing like \"$3\" on the console of $1 within 60 s; its end:" >&2
tail -n 5 "$console" >&2
exit 1'

# console HOST VM PATTERN : wait until a line matches and print the last one that does.
console() { on_host "$1" "$ON_CONSOLE" "$2" 0 "$3" ''; }
# ask HOST VM TEXT PATTERN : type a line and print the answer that matches.
ask() { on_host "$1" "$ON_CONSOLE" "$2" 0 "$4" "$3"; }
