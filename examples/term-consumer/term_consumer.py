#!/usr/bin/env python3
"""Reads messages as JSON lines, passes on those of the newest term, and drops those of older terms.

    iotedge-ha emulator tail --endpoint events | python3 term_consumer.py --state terms.json

A message of an older term comes from a device that has been replaced since: it was cut off, and its messages were kept on the
device and arrive late. Whoever acts on them acts on stale advice.
"""

import argparse
import json
import os
import sys
import tempfile


class Damaged(Exception):
    """The state cannot be relied on."""


class Terms:
    """The newest term of each pool, kept in a file, so that a restart forgets nothing."""

    def __init__(self, path=None):
        self.path = path
        self.newest = {}
        if path is not None and os.path.exists(path):
            self.newest = _read(path)

    def accepts(self, pool, term):
        """Whether a message of this term is still worth acting on. A newer term is on the disk before the answer is yes."""
        newest = self.newest.get(pool, 0)
        if term > newest:
            self._keep({**self.newest, pool: term})
        return term >= newest

    def _keep(self, newest):
        if self.path is not None:
            folder = os.path.dirname(os.path.abspath(self.path))
            with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as file:
                json.dump(newest, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(file.name, self.path)
        self.newest = newest


def _read(path):
    try:
        with open(path) as file:
            newest = json.load(file)
    except ValueError as error:
        raise Damaged(f"{path} is not JSON: {error}") from error
    if not isinstance(newest, dict) or not all(isinstance(term, int) for term in newest.values()):
        raise Damaged(f"{path} holds something else than terms")
    return newest


def stamp(message):
    """Pool and term that the agent has put on a message; None if it bears none, or nonsense."""
    properties = message.get("properties") if isinstance(message, dict) else None
    if not isinstance(properties, dict):
        return None
    # Names of properties may come in any case.
    properties = {name.lower(): value for name, value in properties.items()}
    pool, term = properties.get("ha-pool"), properties.get("ha-term")
    if not isinstance(pool, str) or not isinstance(term, str) or not (term.isascii() and term.isdigit()):
        return None
    return pool, int(term)


def verdict(terms, line):
    """None if the line is to be passed on, else why not."""
    try:
        message = json.loads(line)
    except ValueError:
        return "it is not JSON"
    found = stamp(message)
    if found is None:
        return "it bears no term"
    pool, term = found
    if not terms.accepts(pool, term):
        return f"its term {term} of {pool} is over: the newest is {terms.newest[pool]}"
    return None


def main():
    parser = argparse.ArgumentParser(description="Drop messages of older terms.")
    parser.add_argument("--state", metavar="FILE", help="keep the newest term of each pool here")
    options = parser.parse_args()
    try:
        terms = Terms(options.state)
    except (Damaged, OSError) as error:
        sys.exit(f"error: {error}\nhint: see what the terms are (`iotedge-ha list`), and write them there as {{\"POOL\": TERM}}")
    for line in sys.stdin:
        why = verdict(terms, line)
        if why is None:
            print(line, end="", flush=True)
        else:
            print(f"dropped: {why}: {line.strip()[:200]}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
