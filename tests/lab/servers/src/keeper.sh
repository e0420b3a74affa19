# Keeps the server of directory $1: a process is the server's when it works in that directory or carries it
# in its environment, so that daemons and whatever rewrote its own environment are found alike.
#
# Orders come on standard input, one a line: a signal for all of the server's processes (KILL until none is
# left), or KEEP, after which the directory is left. The answer is a line when it is done. When standard
# input ends, because the test let go or died, everything ends.
directory=$1
removes=yes

members() {
  {
    find /proc/[0-9]*/cwd -maxdepth 0 \( -lname "$directory" -o -lname "$directory/*" \)
    grep -lszxF "DRS_LAB_SERVER=$directory" /proc/[0-9]*/environ
  } 2>/dev/null | cut -d/ -f3 | sort -u
}

# signal NAME : false when there was nobody to get it.
signal() {
  local found
  found=$(members)
  [ -n "$found" ] && { kill -s "$1" $found 2>/dev/null || true; }
}

end() { while signal KILL; do sleep 0.01; done; }

while read -r order; do
  case $order in
    KILL) end ;;
    KEEP) removes=no ;;
    # Twice: what was started between the look and the signal gets it the second time.
    *) signal "$order"; signal "$order" ;;
  esac
  echo done
done
end
[ $removes = no ] || rm -rf "$directory"
