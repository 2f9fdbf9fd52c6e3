"""The lamp of a board, by which a person finds it."""

import asyncio

import machine

BLINK_MS = 250


def blink(board, duration):
    """Blink for ms, beside what else there is to do."""
    print("identify: this is", board.settings.device)
    if board.settings.led is not None:
        asyncio.create_task(_blink(machine.Pin(board.settings.led, machine.Pin.OUT), duration))


async def _blink(led, duration):
    for step in range(duration // BLINK_MS):
        led.value(1 - step % 2)
        await asyncio.sleep_ms(BLINK_MS)
    led.value(0)
