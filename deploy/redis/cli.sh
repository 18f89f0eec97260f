#!/bin/sh
# redis-cli as the operator: docker compose exec redis cli XLEN 'md:{limitlex:BTC-EUR}:trades'
REDISCLI_AUTH=$(cat /run/tickbridge/secrets/operator.password) exec redis-cli --user operator "$@"
