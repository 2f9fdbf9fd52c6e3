"""What is wired to a virtual board: sensors modelled down to their registers, whose world a test or scenario sets."""
