#!/bin/sh
# Makes the secrets that compose.yaml mounts, each once: run it again and nothing changes.
#
# The files can be read by every user of a container that they are mounted into, which on this machine would be everybody;
# so the folder that they lie in can be entered by its owner alone.
set -eu

folder=$(dirname "$0")/secrets
umask 077
mkdir -p "$folder"
chmod 700 "$folder"
for name in influxdb_password influxdb_token grafana_password; do
    file=$folder/$name
    if [ ! -s "$file" ]; then
        # 40 characters of 62: 238 bits.
        LC_ALL=C tr -dc 'A-Za-z0-9' < /dev/urandom | head -c 40 > "$file.part"
        chmod 444 "$file.part"
        mv "$file.part" "$file"
        echo "made $file"
    fi
done
