# The power state of VM UUID, and what changes when a file is written: same output, same content.
timeout -k 5 15 virsh -q domstate "$1" || exit
stat -L -c '%d %i %s %.9Y' -- "$2"
