//! Async client for the IoT Hub service REST API: auth, retry, throttling.
