#!/usr/bin/env bash
# Three nodes on one PostgreSQL under load. One is killed with -9, one is stopped in order, the database is restarted, and at the
# end its machine is lost and a standby takes its place. Everything that was acknowledged arrives, and what arrives twice is at
# most one message for each connection that was open to the receiver at each of these moments.
. "$(dirname "$0")/../lib.sh"

postgres=$interop/../script/postgres
ls /usr/lib/postgresql/*/bin/pg_basebackup >/dev/null 2>&1 || skip "no PostgreSQL (script/bootstrap)"
clusters=$(mktemp -d "${TMPDIR:-/tmp}/waxwing-clusters.XXXXXX")
[ "$(id -u)" != 0 ] || chown postgres "$clusters"
end_clusters() {
    local name
    for name in one two; do
        if [ -e "$clusters/$name/data/postmaster.pid" ]; then MODE=immediate "$postgres" stop "$clusters/$name" || true; fi
    done
    cat "$clusters"/*/postgres.log >"$scratch/postgres.log" 2>/dev/null || true
    rm -rf "$clusters"
}
logs+=("$scratch/nodes.log" "$scratch/postgres.log")
FSYNC=on "$postgres" start "$clusters/one" >/dev/null
python3 "$interop/41-nodes/check.py" "$waxwing" "$scratch" "$clusters" "$postgres" || {
    end_clusters
    fail "see above"
}
end_clusters
