# Every VM of this host: a line `STATE UUID NAME` each.
# virsh takes a number for an id before it takes it for a name, so VMs are addressed by UUID alone.
for state in running paused shutoff other; do
    listed=$(virsh -q list --all --uuid --name "--state-$state") || exit
    [ -z "$listed" ] || printf '%s\n' "$listed" | sed "s/^/$state /"
done
