#!/bin/sh
# SeaweedFS as one container: `weed mini` without its S3 gateway and, as soon as it has made known which
# filer guards which key (its lock ring, a second after its start), the gateway. A gateway that serves
# before that lets two of the writers win that are under way at that moment; so the one of `weed mini`
# itself does, at every start. When one of the two ends, the other is ended, and the container with them.
#   AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY  the store's keys (required)
#   MINI_FLAGS, S3_FLAGS                      more flags for the two, which win over those below
set -eu
: "${AWS_ACCESS_KEY_ID:?set it in the environment}" "${AWS_SECRET_ACCESS_KEY:?set it in the environment}"

core='' gateway=''
end() {
    trap - EXIT INT TERM
    for process in $gateway $core; do
        kill "$process" 2>/dev/null || true
    done
    wait
    exit "$1"
}
trap 'end 1' EXIT
trap 'end 0' INT TERM

said=$(mktemp -u)
mkfifo "$said"
# shellcheck disable=SC2086  # flags are words
weed -logtostderr=true mini -dir=/data -ip=127.0.0.1 -ip.bind=127.0.0.1 -s3=false -bucket=winslow -webdav=false \
    -admin.ui=false -master.telemetry=false ${MINI_FLAGS:-} >"$said" 2>&1 &
core=$!
exec 3<"$said"
rm "$said"
known=''
while [ -z "$known" ] && IFS= read -r line <&3; do
    printf '%s\n' "$line"
    case $line in
    *'LockRing: broadcasting ring update'*) known=yes ;;
    esac
done
[ -n "$known" ] # else it has ended
cat <&3 &

# shellcheck disable=SC2086
weed -logtostderr=true s3 -filer=127.0.0.1:8888 -ip.bind=0.0.0.0 -port=8333 -port.iceberg=0 -port.lance=0 -iam=false \
    ${S3_FLAGS:-} &
gateway=$!
while kill -0 "$core" 2>/dev/null && kill -0 "$gateway" 2>/dev/null; do
    sleep 1
done
