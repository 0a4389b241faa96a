"""When in doubt, nothing is sent: caps beyond the log's reach, wishes that outlive everything, no gain, nobody gone."""

from __future__ import annotations

from itertools import pairwise

from models.policy.reading import read
from models.profile.contact import LOG_MAX, consent, consented
from models.profile.profile import Profile, merge
from schemas.base import DAY_MS, HOUR_MS, MINUTE_MS
from schemas.clickstream import PageViewed
from schemas.identity import ConsentChanged, ErasureRequested
from tests.support import START, Recorded, add, make, order

TWO = """
[policy]
consent = "allow"

[[campaign]]
id = "often"
signal = "ordered"
topic = "nudges"
mode = "live"
holdout = 0.0
actions = [{id = "mail", channel = "email"}]
when = ["orders > 1"]

[[campaign]]
id = "once"
signal = "ordered"
topic = "nudges"
mode = "live"
holdout = 0.0
actions = [{id = "mail", channel = "email"}]
when = ["orders > 0"]
value = 100
caps = [{most = 1, within = "90d"}]
"""

CART = """
[policy]
consent = "allow"

[[campaign]]
id = "cart"
signal = "cart_left"
topic = "nudges"
mode = "live"
holdout = 0.0
actions = [{{id = "mail", channel = "email", cost = 1.0, prior_effect = 0.1}}]
{value}
"""


def test_a_cap_holds_when_other_contacts_have_filled_the_log() -> None:
    orders = [order(START + day * DAY_MS, number=f"o{day}") for day in range(LOG_MAX + 20)]
    sent = [d.campaign for d in Recorded(read(TWO)).feed(orders).decisions]
    assert sent.count("once") == 1
    assert sent.count("often") == len(orders) - 1


def test_a_full_log_that_reaches_back_far_enough_stops_nothing() -> None:
    orders = [order(START + 10 * day * DAY_MS, number=f"o{day}") for day in range(LOG_MAX + 20)]
    times = [d.issued_at for d in Recorded(read(TWO)).feed(orders).decisions if d.campaign == "once"]
    assert len(times) == len(orders) // 9 + 1
    assert all(later - earlier >= 90 * DAY_MS for earlier, later in pairwise(times))


def test_a_cart_is_left_only_after_silence() -> None:
    """Whoever goes on browsing has not left; the reminder waits for an hour without any activity."""
    browsing = [make(PageViewed, START + minute * MINUTE_MS) for minute in range(20, 200, 20)]
    recorded = Recorded(read(CART.format(value=""))).feed([add(START), *browsing], START + 12 * HOUR_MS)
    assert [d.issued_at for d in recorded.decisions] == [START + 180 * MINUTE_MS + HOUR_MS]


def test_a_contact_that_costs_more_than_it_can_gain_is_not_made() -> None:
    left = [add(START, price="5")]
    stingy = Recorded(read(CART.format(value='value = "cart_value"'))).feed(left, START + DAY_MS)
    assert not stingy.decisions
    assert stingy.run.counts["suppressed|cart|no_gain"] == 1
    assert Recorded(read(CART.format(value="value = 50"))).feed(left, START + DAY_MS).decisions
    assert Recorded(read(CART.format(value=""))).feed(left, START + DAY_MS).decisions, "a value nobody gave is unknown"


def test_an_objection_outlives_an_erasure() -> None:
    settings = read(TWO)
    log = [
        make(ConsentChanged, START, granted=False, scope="email"),
        make(ConsentChanged, START + 1, granted=False, purpose="profiling"),
        make(ErasureRequested, START + 2),
        order(START + DAY_MS),
    ]
    recorded = Recorded(settings).feed(log)
    assert not recorded.decisions
    assert not recorded.profile().contact.profiling
    assert Recorded(settings).feed([log[2], log[3]]).decisions, "without an objection the erased start anew"


def test_what_a_device_withdrew_holds_for_its_user() -> None:
    user = Profile("u:1", contact=consent(Profile("u:1").contact, "*", True))
    device = Profile("a:1", contact=consent(Profile("a:1").contact, "email", False))
    both = merge(user, device).contact
    assert not consented(both, "email", True)
    assert consented(both, "sms", False)
