# Switches a guest.
#
#   power.sh start|resume|shutdown|stop JOB ORDER TOOL VMID SECONDS
#
# SECONDS are those that a guest has to shut down in.
#
# The KVM of a guest that is started lives on: it must not inherit the turn (descriptor 6).
take_turn "$2" "$3"
case $1 in
shutdown) exec "$4" shutdown "$5" --timeout "$6" ;;
stop)
    # Asked here and not before: a start that was given up may have been under way until now.
    state=$("$4" status "$5") || exit
    [ "$state" != 'status: stopped' ] || exit 0
    exec "$4" stop "$5"
    ;;
*) "$4" "$1" "$5" 6>&- ;;
esac
