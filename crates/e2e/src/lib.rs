//! The built binaries against the emulator: the only tests that open ports or wait.
