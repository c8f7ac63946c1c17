#!/usr/bin/env bash
# The press line from nothing to a rolling update and a failover, on this machine: a hub, two IoT Edge devices, a plant.
#
#   ./run.sh [FOLDER]
#
# Everything lies in FOLDER (a temporary one if none is named) and ends with the script. Ports of 127.0.0.1 from PRESS_LINE_PORT
# (18880) on are used. IOTEDGE_HA_BIN and PRESS_LINE_BIN name programs that are built already.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=${1:-$(mktemp -d /tmp/press-line.XXXXXX)}
mkdir -p "$work"
port=${PRESS_LINE_PORT:-18880}

step() { printf '\n== %s\n' "$*" >&2; }
fail() { echo "error: $*; the logs are in $work" >&2; exit 1; }

step "programs"
if [ -z "${IOTEDGE_HA_BIN:-}" ]; then
    cargo build --quiet --manifest-path "$here/../../Cargo.toml" --package iotedge-ha
    IOTEDGE_HA_BIN=$here/../../target/debug/iotedge-ha
fi
if [ -z "${PRESS_LINE_BIN:-}" ]; then
    cargo build --quiet --manifest-path "$here/Cargo.toml"
    PRESS_LINE_BIN=$here/target/debug/press-line
fi
ha=$(realpath "$IOTEDGE_HA_BIN")
line=$(realpath "$PRESS_LINE_BIN")
cd "$work"

# What is started here is ended here, by process id; a device is a session, with all that its modules have started.
pids=() sessions=()
session() { ps -o pid= -s "$1" || true; }
end() {
    for sid in "${sessions[@]}"; do kill -KILL $(session "$sid") 2> /dev/null || true; done
    kill "${pids[@]}" 2> /dev/null || true
    wait 2> /dev/null || true
}
trap end EXIT
start() { # NAME COMMAND…: in the background, with its log in NAME.log
    local name=$1
    shift
    "$@" > "$name.log" 2>&1 &
    pids+=($!)
}
until_says() { # FILE TEXT
    for _ in $(seq 600); do
        grep -qF -- "$2" "$1" 2> /dev/null && return
        sleep 0.1
    done
    fail "$1 never said: $2"
}
until_writes() { # MEMBER [COUNT]: the plant takes so many new writes of it, the last of all
    local seen=0
    local before
    before=$(grep -c "\"member\":\"$1\".*\"taken\":true" record.jsonl || true)
    for _ in $(seq 900); do
        seen=$(grep -c "\"member\":\"$1\".*\"taken\":true" record.jsonl || true)
        [ $((seen - before)) -ge "${2:-10}" ] && tail -n 1 record.jsonl | grep -q "\"member\":\"$1\"" && return
        sleep 0.1
    done
    fail "$1 never wrote"
}
writer() { tail -n 1 record.jsonl | sed 's/.*"member":"\([^"]*\)".*/\1/'; }
term() { tail -n 1 record.jsonl | sed 's/.*"term":\([0-9]*\).*/\1/'; }

step "a plant that refuses older terms"
start plant "$line" plant --listen "127.0.0.1:$port" --record record.jsonl
until_says plant.log PLANT=
plant=127.0.0.1:$port

step "a hub"
start hub "$ha" emulator --https-port $((port + 1)) --mqtt-port $((port + 2)) --amqp-port 0 --state "$work/hub" --print-env \
    --device edge-a:edge --device edge-b:edge
until_says hub.log IOTHUB_CONNECTION_STRING=
set -a
eval "$(grep -E "^[A-Z_]+='" hub.log)"
set +a
export IOTEDGE_HA_CONFIG=$work/pools.toml

step "a pool of two devices, and the agent in the deployment manifest"
cat > pools.toml <<END
[hub]
connection_string_env = "IOTHUB_CONNECTION_STRING"
ca_file = "hub/ca.pem"
sku = "S1"

[defaults.timings]
ttl_ms = 9_000
renew_ms = 2_000
call_timeout_ms = 2_000
END
"$ha" init press_1 --devices edge-a,edge-b --manifest "$here/deployment.json" --output release-1.json \
    --image registry.example.com/press:1 --gate exec
"$ha" init press_1 --manifest "$here/deployment.json" --output release-2.json \
    --image registry.example.com/press:2 --gate exec --quiet

step "two devices; their images are this program with two revisions of the model"
device() { # NAME PORT
    local agent="$ha agent --mqtt-port $2 --state-dir $work/$1/agent -- $line score --plant $plant --model $here/model"
    setsid "$ha" emulator edge-hub --device "$1" --mqtt-port "$2" --hub-mqtt-port $((port + 2)) --state "$work/$1" \
        --image "registry.example.com/press:1=$agent/advice-1.onnx" \
        --image "registry.example.com/press:2=$agent/advice-2.onnx" > "$1.log" 2>&1 &
    sessions+=($!)
    disown # its death is part of the story, and no news of the shell's
    until_says "$1.log" "edge"
}
device edge-a $((port + 3))
device edge-b $((port + 4))

step "the controller, and the first release"
start controller "$ha" run
"$ha" deploy press_1 release-1.json --yes
until_writes edge-a 20
echo "edge-a advises the press in term $(term)" >&2

step "edge-a loses its power"
old=$(term)
kill -KILL $(session "${sessions[0]}")
until_writes edge-b 20
echo "edge-b advises the press in term $(term)" >&2

step "late writes of edge-a, as a network may keep them: the plant refuses term $old"
late=3
HA_MEMBER=edge-a HA_TERM=$old "$line" score --plant "$plant" --model "$here/model/advice-1.onnx" --count "$late"

step "edge-a comes back; a new release is rolled out, member by member"
device edge-a $((port + 3))
"$ha" deploy press_1 release-2.json --rolling --settle-s 2 --yes
until_writes "$(writer)" 20
"$ha" list

step "what the plant has recorded"
"$line" report record.jsonl --late "$late"
