#!/bin/sh
# The first program in the lab's machine: loads the modules, puts the outside's file system below a throw-away overlay,
# and hands over to the task's own program there, whose path stands in hexadecimal on the kernel's command line.
PATH=/bin
fail() {
    echo "the lab's first program failed: $1"
    poweroff -f
}
mount -t proc proc /proc || fail "mounting /proc"
mount -t sysfs sysfs /sys || fail "mounting /sys"
mount -t devtmpfs dev /dev || fail "mounting /dev"
while read -r module options; do
    insmod "/modules/$module.ko" $options || fail "loading the module $module"
done < /modules/order
ip link set lo up
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro root /lower || fail "mounting the outside's file system"
mount -t tmpfs scratch /scratch || fail "mounting a tmpfs"
mkdir /scratch/upper /scratch/work
mount -t overlay -o lowerdir=/lower,upperdir=/scratch/upper,workdir=/scratch/work overlay /host || fail "mounting the overlay"
for dir in proc sys dev; do
    mkdir -p "/host/$dir"
    mount --move "/$dir" "/host/$dir" || fail "moving /$dir"
done
for word in $(cat /host/proc/cmdline); do
    case $word in krundl.program=*) program=${word#*=} ;; esac
done
program=$(printf "$(echo "$program" | sed 's/../\\x&/g')")
exec switch_root /host "$program" lab-inside
fail "starting $program"
