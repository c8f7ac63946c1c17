//! Twins and tags: the flag, the key, the settings, what agents report, and roles.
