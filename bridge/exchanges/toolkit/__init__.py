"""What every exchange's sessions need, written once: in rooms that each build on those before them.

``values``, ``timing``, ``pairs``, ``sessions``, ``rest``, ``accounts``; and, for the exchanges themselves, `hosted` and `options`.
"""
