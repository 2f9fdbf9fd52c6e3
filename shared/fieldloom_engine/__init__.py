"""The engine: pure state machines, (state, event) in and state out. No I/O; a tier wraps them with its ports."""
