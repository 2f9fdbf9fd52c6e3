"""Sets of sequence numbers, kept as spans: which records of a (device, boot) have been received (decision 2)."""


class Ranges:
    """A set of whole numbers from 1, as sorted spans `[first, last]` that neither touch nor overlap.

    A healthy stream is one span however long it is; adding and asking are linear in the number of gaps.
    """

    def __init__(self, spans: list[list[int]] | None = None) -> None:
        self.spans: list[list[int]] = []
        for first, last in spans or []:
            self.add(first, last)

    def __contains__(self, number: int) -> bool:
        for first, last in self.spans:
            if first <= number <= last:
                return True
        return False

    @property
    def end(self) -> int:
        """The last number of the run that begins at 1: what a cumulative acknowledgement may say; 0 without one."""
        return self.spans[0][1] if self.spans and self.spans[0][0] == 1 else 0

    def add(self, first: int, last: int | None = None) -> bool:
        """Add first to last (by default first alone) and say whether any of it was new."""
        if last is None:
            last = first
        if self.spans and first == self.spans[-1][1] + 1:  # the way of a healthy stream
            self.spans[-1][1] = last
            return True
        before: list[list[int]] = []
        after: list[list[int]] = []
        low, high = first, last
        for span in self.spans:
            if span[1] < first - 1:
                before.append(span)
            elif span[0] > last + 1:
                after.append(span)
            elif span[0] <= first and last <= span[1]:
                return False
            else:
                low, high = min(low, span[0]), max(high, span[1])
        self.spans = before + [[low, high]] + after  # noqa: RUF005 - MicroPython 1.22 unpacks into no list display
        return True

    def settle(self, first: int) -> bool:
        """Take all below `first` as had: the sender holds none of it any more. Say whether that was news."""
        return first > 1 and self.add(1, first - 1)
