"""The checks, a module a topic, a function a check.

A check is an ``async def`` with ``@check(…)`` that asks its Look and gives one of the answers of
``dbctl.health.results``. What it measures and why is its docstring, for `dbctl health explain`. It catches no error of
the server: the run knows what a missing privilege, a lock or a deadline says of it. A module here is found by itself.
"""
