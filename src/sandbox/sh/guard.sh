# Run by `sh` with the sandbox's folder as $1. Standard input is a pipe whose other end the owner holds: it closes when
# the owner ends, however it ends. Then every server in the folder is stopped and the folder goes.
trap '' HUP INT TERM
while read -r _; do :; done

# Sends signal $1 to the server of lock file $2, and to its children too when $3 is given. A server works in its data
# directory: a process of that number that does not has nothing to do with us.
signal() {
    pid=$(head -n 1 "$2") && [ "/proc/$pid/cwd" -ef "${2%/*}" ] || return 1
    kill "-$1" "$pid" ${3:+$(cat "/proc/$pid/task/$pid/children")} 2>/dev/null
}

# The demo's Gatekeeper works in the sandbox's folder.
front=$(cat "$1/gatekeeper.pid" 2>/dev/null) && [ "/proc/$front/cwd" -ef "$1" ] && kill -KILL "$front"

servers=''
for lock in "$1"/*/data/postmaster.pid; do
    [ -f "$lock" ] || continue
    # A frozen server and its children have to wake first.
    signal CONT "$lock" children
    signal QUIT "$lock" && servers="$servers $lock"
done

# A server takes its lock file away when it ends.
tries=200
for lock in $servers; do
    while [ -f "$lock" ] && [ $tries -gt 0 ]; do
        sleep 0.02
        tries=$((tries - 1))
    done
done

for lock in "$1"/*/data/postmaster.pid; do
    [ -f "$lock" ] || continue
    signal KILL "$lock" children
    # A killed server leaves a shared memory segment: its key and its id are the lock file's seventh line.
    segment=$(sed -n '7s/.* //p' "$lock")
    [ -z "$segment" ] || ipcrm -m "$segment" 2>/dev/null
done
rm -rf "$1"
