# What the scripts that start servers share: ports, processes that may be others' by now, and who a server runs as.
# To be sourced; `say` is the caller's.
# shellcheck shell=bash

is_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# A port below the ephemeral ones that nothing listens on now. Another process may take it before the server binds it.
spare_port() {
    local port
    for _ in $(seq 100); do
        port=$((20000 + RANDOM % 12000))
        if ! is_taken "$port"; then
            printf '%s' "$port"
            return
        fi
    done
    say "no spare port found between 20000 and 32000"
    return 1
}

# port_for WANTED KEPT: WANTED when it is given, which must then be free; else KEPT while it is free; else a spare one.
port_for() {
    if [ -n "$1" ]; then
        if is_taken "$1"; then
            say "port $1 is taken by another program"
            return 1
        fi
        printf '%s' "$1"
    elif [ -n "$2" ] && ! is_taken "$2"; then
        printf '%s' "$2"
    else
        spare_port
    fi
}

new_password() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }

# pid_in FILE: the number on its first line, if it is one.
pid_in() { sed -n '1s/^\([0-9][0-9]*\)$/\1/p' "$1" 2>/dev/null || true; }

# lives_in PID DIR: a process PID runs whose working directory is DIR. The number alone may be another process's by now,
# and a zombie has no directory.
lives_in() { [ -n "$1" ] && [ "$(readlink "/proc/$1/cwd" 2>/dev/null)" = "$2" ]; }

# wait_until SECONDS COMMAND…: asks twenty times a second.
wait_until() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.05
    done
}

# write_private FILE: standard input, whole or not at all, readable for its owner only.
write_private() {
    (umask 077 && cat >"$1.new") && mv -f "$1.new" "$1"
}
