#!/usr/bin/env bash
# A Ray cluster of two nodes, both processes of this machine, for tests.
#
#   ray_cluster.sh start FOLDER   starts the head and a second node, one CPU each; prints the head's address
#   ray_cluster.sh lose FOLDER    kills the second node with all that runs on it
#   ray_cluster.sh join FOLDER    starts the second node again
#   ray_cluster.sh stop FOLDER    ends them, and nothing else of Ray's
#
# RAY names the program. Each node claims to have a GPU. Clients need RAY_AUTH_MODE=token and
# RAY_AUTH_TOKEN_PATH=FOLDER/token. FOLDER must be short: Ray keeps its sockets there.
set -euo pipefail
command=${1:?start, lose, join or stop} folder=$(realpath -m "${2:?a folder}")
ray=${RAY:-ray} port=${PORT:-6399}
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$folder/token RAY_worker_niceness=0

node() {
    local name=$1
    shift
    setsid "$ray" start "$@" --node-ip-address=127.0.0.1 --num-cpus=1 --num-gpus=1 \
        --object-store-memory=100000000 --disable-usage-stats --block >"$folder/$name.log" 2>&1 </dev/null &
    echo $! >"$folder/$name.pid"
    for _ in $(seq 120); do
        grep -q 'Ray runtime started' "$folder/$name.log" && return
        kill -0 "$(cat "$folder/$name.pid")" || break
        sleep 0.5
    done
    cat "$folder/$name.log" >&2
    return 1
}

start() {
    mkdir -p "$folder"
    python3 -c 'import secrets; print(secrets.token_hex(32), end="")' >"$folder/token"
    chmod 600 "$folder/token"
    node head --head --port="$port" --include-dashboard=false --temp-dir="$folder/ray"
    join
    echo "127.0.0.1:$port"
}

join() {
    node second --address="127.0.0.1:$port"
}

lose() {
    kill -KILL -- "-$(cat "$folder/second.pid")"
}

stop() {
    for name in second head; do
        [ -s "$folder/$name.pid" ] && kill -TERM -- "-$(cat "$folder/$name.pid")" 2>/dev/null || true
    done
}

"$command"
