"""Sets of sequence numbers, kept as spans: which records of a (device, boot) have been received (decision 2)."""


class Ranges:
    """A set of whole numbers from 1, as sorted spans `[first, last]` that neither touch nor overlap.

    A healthy stream is one span however long it is; a place among many gaps is found by halving.
    """

    def __init__(self, spans: list[list[int]] | None = None) -> None:
        self.spans: list[list[int]] = []
        for first, last in spans or []:
            self.add(first, last)

    def __contains__(self, number: int) -> bool:
        at = self._place(number)
        return at < len(self.spans) and self.spans[at][0] <= number

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
        at = end = self._place(first - 1)
        if at < len(self.spans) and self.spans[at][0] <= first and last <= self.spans[at][1]:
            return False
        while end < len(self.spans) and self.spans[end][0] <= last + 1:
            end += 1
        low, high = first, last
        if end > at:  # spans that it touches
            low, high = min(low, self.spans[at][0]), max(high, self.spans[end - 1][1])
        self.spans[at:end] = [[low, high]]
        return True

    def _place(self, number: int) -> int:
        """Return which span is the first that ends at a number or behind it."""
        low, high = 0, len(self.spans)
        while low < high:
            middle = (low + high) // 2
            if self.spans[middle][1] < number:
                low = middle + 1
            else:
                high = middle
        return low

    def settle(self, first: int) -> bool:
        """Take all below `first` as had: the sender holds none of it any more. Say whether that was news."""
        return first > 1 and self.add(1, first - 1)
