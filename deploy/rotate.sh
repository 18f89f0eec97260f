#!/bin/sh
# A new password for one Redis user of docker-compose.yml: sh deploy/rotate.sh USER [SERVICE]
# Another token for the gateway: sh deploy/rotate.sh token; another password for Grafana: sh deploy/rotate.sh grafana
#
# Both passwords are valid until the service (default: that of the user's name) runs with the new one. If that fails, the old
# one stays valid; run it again. "public" and "operator" have no service, and a token is in the hands of its users: the old one
# stays valid until it is run a second time. Grafana takes its new password at once.
# DOCKER_COMPOSE says how the stack was started: "docker compose -p name".
set -eu
[ $# -ge 1 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 1; }
user=$1
service=${2:-$1}
compose=${DOCKER_COMPOSE:-docker compose}

make() { $compose run --rm --no-deps -T secrets python /deploy/make_secrets.py "$1" "$user"; }
reload() { $compose exec -T redis reload-users; }
restart() { $compose up -d --no-deps --wait --force-recreate "$1"; }

case $user in
    public | operator)
        make next
        reload
        ;;
    token)
        make next
        restart "${2:-web}"
        ;;
    grafana)
        make rotate
        # It reads the file on its first start only; then the password is in its database.
        $compose exec -T "$service" sh -c \
            'grafana cli admin reset-admin-password --password-from-stdin </run/tickbridge/secrets/admin.password'
        ;;
    *)
        make rotate
        reload
        restart "$service"
        make retire
        reload
        ;;
esac
