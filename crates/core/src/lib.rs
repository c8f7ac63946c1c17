//! Decides: pools, health, leases, plans, invariants. No clock, dice, async, files or sockets.
