# Switches a VM.
#
#   power.sh start|resume|shutdown|destroy JOB ORDER UUID
take_turn "$2" "$3"
# Asked here and not before: a start that was given up may have been under way until now.
if [ "$1" = destroy ]; then
    state=$(timeout -k 5 60 virsh -q domstate "$4") || exit
    [ "$state" != 'shut off' ] || exit 0
fi
exec virsh -q "$1" "$4"
