//! What IoT Hub says and hears: REST bodies, twins, MQTT topics, SAS tokens. Encode and decode only.
