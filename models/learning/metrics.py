"""Progressive figures of a stream of predictions in constant time and space: log loss, AUC, ECE and lift.

Predictions fall into 400 bins of their log-odds; each bin keeps counts and sums. AUC, calibration and lift are read
off the bins when asked for, so that one update costs a microsecond whatever the length of the stream.
"""

from __future__ import annotations

from itertools import pairwise
from math import log

from msgspec import Struct

BINS = 400
_SPAN = 8.0
_PER_LOGIT = BINS / (2 * _SPAN)
P_MIN = 1e-4
RECENT = 1 / 1000


def clipped(p: float) -> float:
    """A probability kept within [1e-4, 1 - 1e-4], so that no single miss costs more than 9.2 nats."""
    return P_MIN if p < P_MIN else 1 - P_MIN if p > 1 - P_MIN else p


class Figures(Struct, frozen=True):
    """What the predictions of one target are worth.

    Parameters
    ----------
    n, base_rate
        Labels, and the share of positives among them.
    log_loss, null_log_loss
        Mean log loss in nats, of the model and of the rate known when each prediction was made.
    auc
        Area under the ROC curve, exact to the width of a bin; None until both classes were seen.
    ece
        Expected calibration error over 10 groups of equal size.
    lift
        Rate of positives in the top tenth over the base rate; None without positives.
    """

    n: int
    base_rate: float
    log_loss: float
    null_log_loss: float
    auc: float | None
    ece: float
    lift: float | None


class Metrics(Struct):
    """Running sums over (prediction, null prediction, label); a mutable part of a model.

    >>> m = Metrics()
    >>> losses = [m.update(0.9 if i % 2 else 0.1, 0.5, bool(i % 2)) for i in range(100)]
    >>> f = m.figures()
    >>> f.n, f.auc, round(f.ece, 3), f.lift
    (100, 1.0, 0.1, 2.0)
    """

    n: int = 0
    positives: int = 0
    loss: float = 0.0
    null_loss: float = 0.0
    recent_gain: float = 0.0
    counts: list[int] = []
    hits: list[int] = []
    sums: list[float] = []
    since: int = 0

    def __post_init__(self) -> None:
        if not self.counts:
            self.counts, self.hits, self.sums = [0] * BINS, [0] * BINS, [0.0] * BINS

    def update(self, p: float, null: float, label: bool) -> float:
        """Score one prediction once its label is known; returns its log loss in nats."""
        p, null = clipped(p), clipped(null)
        loss = -log(p if label else 1 - p)
        null_loss = -log(null if label else 1 - null)
        self.n += 1
        self.positives += label
        self.loss += loss
        self.null_loss += null_loss
        self.recent_gain += max(RECENT, 1 / (self.n - self.since)) * (null_loss - loss - self.recent_gain)
        bin_ = int((log(p / (1 - p)) + _SPAN) * _PER_LOGIT)
        bin_ = 0 if bin_ < 0 else BINS - 1 if bin_ >= BINS else bin_
        self.counts[bin_] += 1
        self.hits[bin_] += label
        self.sums[bin_] += p
        return loss

    def rate(self, prior: float, weight: float = 20.0) -> float:
        """The no-feature null: the rate so far, pulled to ``prior`` as by ``weight`` labels."""
        return (self.positives + prior * weight) / (self.n + weight)

    def start_over(self) -> None:
        """Let the skill be earned anew from the next label on; the figures stand."""
        self.recent_gain, self.since = 0.0, self.n

    def skilled(self, least: int) -> bool:
        """Whether at least ``least`` labels, up to the last thousand or so, were predicted better than by the null."""
        return self.n - self.since >= least and self.recent_gain > 0.0

    def figures(self) -> Figures:
        """Read the figures off the sums: O(bins)."""
        n = self.n
        if not n:
            return Figures(0, 0.0, 0.0, 0.0, None, 0.0, None)
        base = self.positives / n
        return Figures(
            n,
            base,
            self.loss / n,
            self.null_loss / n,
            self._auc(),
            self._ece(),
            self._top_rate() / base if self.positives else None,
        )

    def _auc(self) -> float | None:
        negatives = self.n - self.positives
        if not self.positives or not negatives:
            return None
        below = pairs = 0.0
        for count, hit in zip(self.counts, self.hits, strict=True):
            miss = count - hit
            pairs += hit * (below + miss / 2)
            below += miss
        return pairs / (self.positives * negatives)

    def _ece(self, groups: int = 10) -> float:
        """Calibration error over ``groups`` of equal size; a bin that spans a border is split in proportion."""
        size = self.n / groups
        error, gap, room = 0.0, 0.0, size
        for count, hit, total in zip(self.counts, self.hits, self.sums, strict=True):
            left = float(count)
            while left > 0:
                take = min(left, room)
                gap += (total - hit) * take / count
                left -= take
                room -= take
                if room <= 1e-9 * size:
                    error += abs(gap)
                    gap, room = 0.0, size
        return (error + abs(gap)) / self.n

    def _top_rate(self) -> float:
        """Rate of positives among the tenth with the highest predictions."""
        wanted = left = self.n / 10
        found = 0.0
        for count, hit in zip(reversed(self.counts), reversed(self.hits), strict=True):
            if not count:
                continue
            take = min(left, count)
            found += hit * take / count
            left -= take
            if left <= 0:
                break
        return found / wanted

    def calibration(self, groups: int = 10) -> list[tuple[float, float, int]]:
        """(mean prediction, rate of positives, size) of ``groups`` runs of bins of about equal size."""
        edges = [self.n * g // groups for g in range(groups + 1)]
        curve = []
        bin_ = seen = 0
        for _, end in pairwise(edges):
            count = hits = 0
            total = 0.0
            while bin_ < BINS and seen < end:
                count += self.counts[bin_]
                hits += self.hits[bin_]
                total += self.sums[bin_]
                seen += self.counts[bin_]
                bin_ += 1
            if count:
                curve.append((total / count, hits / count, count))
        return curve
