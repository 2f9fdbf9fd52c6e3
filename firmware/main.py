"""Starts the agent."""

from fieldloom_agent.agent import main

main()
