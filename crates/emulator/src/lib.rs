//! An IoT Hub in one process, HTTP and MQTT over TLS. Knows nothing of pools.
