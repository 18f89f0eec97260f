"""Exchanges without a module of their own, through CCXT: ``ccxt.kucoin`` and 75 others.

CCXT's modules make the messages and read them, nothing more: connections, times, retries and the order of events are
ours, as everywhere. What is promised differs from id to id (`promises.py`), and the catalog says it.

`ids.py` knows what there is. CCXT itself is imported only by a connector that uses it, and never when another one
starts: that takes half a second and a hundred megabytes. Sources: its code of version 4.5.90, and
recorded frames where a comment says so.
"""
