#!/bin/sh
# A new password for one Redis user of docker-compose.yml: sh deploy/rotate.sh USER [SERVICE]
#
# Both passwords are valid until the service (default: that of the user's name) runs with the new one. If that fails, the old
# one stays valid; run it again. "public" and "operator" have no service: both stay valid until it is run a second time.
# DOCKER_COMPOSE says how the stack was started: "docker compose -p name".
set -eu
[ $# -ge 1 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 1; }
user=$1
case $user in public | operator) service= ;; *) service=${2:-$1} ;; esac
compose=${DOCKER_COMPOSE:-docker compose}

change() {
    $compose run --rm --no-deps -T secrets python /deploy/make_secrets.py "$1" "$user"
    $compose exec -T redis reload-users
}

if [ -z "$service" ]; then
    change next
else
    change rotate
    $compose up -d --no-deps --wait --force-recreate "$service"
    change retire
fi
