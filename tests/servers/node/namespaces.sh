#!/bin/sh
# Run a command in a network, mount and process namespace of its own: namespaces.sh COMMAND...
# What a real node leaves behind (containers, mounts, bridges, listeners) ends with the command,
# however that ends. The shell is process 1 there: it waits for the command, and reaps orphans.
# `ip netns exec` would hide the cgroup mounts, so it is not used. Root is needed.
set -eu
# One at a time on a machine: the kernel log is the machine's, and each would see the other's faults.
exec 9>/tmp/konduktor-health-node.lock
if ! flock --nonblock 9; then
    echo 'another real node runs on this machine: waiting for it to end (at most 15 minutes) ...' >&2
    flock --timeout 900 9 || { echo 'error: it still runs' >&2; exit 1; }
fi
NODE_TESTS_OUTSIDE="$(readlink /proc/self/ns/net) $(readlink /proc/self/ns/mnt)"
export NODE_TESTS_OUTSIDE
exec unshare --net --mount --pid --fork --kill-child --mount-proc -- \
    /bin/sh -c '"$@"; exit $?' sh "$@"
