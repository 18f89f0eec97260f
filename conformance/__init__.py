"""The conformance suite: what a reader of the streams has to make of them, as cases that any client library can be tried with.

The README in this folder says what a case is, and how a client is wrapped.
"""
