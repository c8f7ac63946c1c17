//! The daemon: gathers, decides, carries out; the control lease, the store of decisions.
