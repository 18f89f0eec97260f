"""Markets that speak as Coinbase and Bybit do in public, one market for all clients, over the simulator's real sockets.

A recording gives each client its own position, and ends after seconds. Here all clients see the same market, for as long as
it runs, and each is first sent what the exchange would send it: the book as it is, and Coinbase's latest trades too.
``python -m tests.markets coinbase --rate 500 --write-config FILE`` serves one, with the simulator's control paths.
"""
