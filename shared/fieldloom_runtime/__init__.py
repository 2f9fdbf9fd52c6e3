"""What every CPython process of Fieldloom needs: parts in order, TLS, the MQTT link, the broker's settings, logs."""
