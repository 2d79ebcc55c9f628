#!/usr/bin/env bash
# A one-node Slurm cluster of this machine, for tests. Needs root and Debian's slurm-wlm and munge.
#
#   slurm_cluster.sh start FOLDER   starts munged, slurmctld and slurmd; prints the SLURM_CONF to export
#   slurm_cluster.sh lose FOLDER    kills slurmd with all that runs on the node
#   slurm_cluster.sh join FOLDER    starts slurmd again
#   slurm_cluster.sh stop FOLDER    ends them
#
# The node offers CPUS processors, by default 2. No accounting, no cgroups: what a container allows. Jobs of the
# partition `urgent` preempt those of `main`, which are requeued after GRACE seconds. An array has at most 3 tasks.
set -euo pipefail
command=${1:?start, lose, join or stop} folder=$(realpath -m "${2:?a folder}")
cpus=${CPUS:-2} grace=${GRACE:-20} port=${PORT:-16817}

start() {
    mkdir -p "$folder"/{state,spool,log} /run/munge
    chown munge: /run/munge
    pidof munged >/dev/null || su munge -s /bin/sh -c munged
    local memory
    memory=$(awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo)
    cat >"$folder/slurm.conf" <<CONF
ClusterName=tests
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort=$port
SlurmdPort=$((port + 1))
AuthType=auth/munge
AuthInfo=cred_expire=10
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
MpiDefault=none
KillWait=5
MinJobAge=300
InactiveLimit=0
SlurmdTimeout=20
MaxArraySize=4
NodeName=localhost NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory State=UNKNOWN
PartitionName=main Nodes=localhost Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=$grace
PartitionName=urgent Nodes=localhost MaxTime=INFINITE State=UP PriorityTier=2 PreemptMode=off
CONF
    export SLURM_CONF=$folder/slurm.conf
    slurmctld
    join
    echo "$SLURM_CONF"
}

join() {
    export SLURM_CONF=$folder/slurm.conf
    slurmd -N localhost
    for _ in $(seq 300); do
        [[ $(sinfo -h -p main -o %T 2>/dev/null) =~ ^(idle|mixed|allocated|completing)$ ]] && return
        sleep 0.2
    done
    sinfo >&2
    return 1
}

lose() {
    local parents all
    parents=$(pgrep -d, -f 'slurmstepd: ' || true)
    all=$(cat "$folder/slurmd.pid")
    while [ -n "$parents" ]; do
        all+=" ${parents//,/ }"
        parents=$(pgrep -d, --parent "$parents" || true)
    done
    # In one go: a step whose job is killed first tells slurmctld that the job failed.
    kill -KILL $all || true
}

stop() {
    export SLURM_CONF=$folder/slurm.conf
    scancel --state=PENDING --state=RUNNING --partition=main --quiet || true
    for daemon in slurmd slurmctld; do
        [ -s "$folder/$daemon.pid" ] && kill "$(cat "$folder/$daemon.pid")" || true
    done
}

"$command"
