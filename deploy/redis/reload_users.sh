#!/bin/sh
# Redis reads its users again, after make_secrets.py has changed them: docker compose exec redis reload-users
# Exits with 1 if Redis refuses them (redis-cli alone does not).
said=$(REDISCLI_AUTH=$(cat /run/tickbridge/secrets/users.password) redis-cli --user users ACL LOAD)
echo "$said"
[ "$said" = OK ]
