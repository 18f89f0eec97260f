#!/bin/sh
# Redis reads its users again, after make_secrets.py has changed them: docker compose exec redis reload-users
REDISCLI_AUTH=$(cat /run/tickbridge/secrets/users.password) exec redis-cli --user users ACL LOAD
