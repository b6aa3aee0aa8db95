#!/bin/sh
# Write mosquitto's password file from the environment, then become mosquitto. The passwords never
# stand in an argument list: printf is the shell's own, and mosquitto_passwd -U hashes in place.
#   WINSLOW_BROKER_PASSWORD         the account "winslow": agents and people (required)
#   WINSLOW_BROKER_VIEWER_PASSWORD  the account "viewer": reads only (no such account when empty)
# Arguments: the configuration file and the password file named in it.
set -eu
config=${1:-/mosquitto/config/mosquitto.conf}
passwords=${2:-/mosquitto/run/passwords}
: "${WINSLOW_BROKER_PASSWORD:?set it in the environment}"

umask 077
mkdir -p "$(dirname "$passwords")"
printf 'winslow:%s\n' "$WINSLOW_BROKER_PASSWORD" >"$passwords"
if [ -n "${WINSLOW_BROKER_VIEWER_PASSWORD:-}" ]; then
    printf 'viewer:%s\n' "$WINSLOW_BROKER_VIEWER_PASSWORD" >>"$passwords"
fi
mosquitto_passwd -U "$passwords"
if [ "$(id -u)" = 0 ]; then # mosquitto started by root becomes the user "mosquitto"
    chown mosquitto "$(dirname "$passwords")" "$passwords"
fi
unset WINSLOW_BROKER_PASSWORD WINSLOW_BROKER_VIEWER_PASSWORD
exec mosquitto -c "$config"
