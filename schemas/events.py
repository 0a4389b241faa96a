"""The closed union of canonical events."""

from __future__ import annotations

from .clickstream import (
    FormSubmitted,
    LeadChanged,
    PageViewed,
    ProductClicked,
    ProductListViewed,
    ProductsSearched,
    ProductViewed,
    PromotionClicked,
    PromotionViewed,
    Shared,
    SignedIn,
    SignedOut,
    SignedUp,
    WishlistChanged,
)
from .control import Custom, ModelPublished, SlotRequested, Tick, TimerDue
from .feedback import MessageReceived, ProductReviewed, SurveyAnswered
from .identity import ConsentChanged, ErasureRequested, HandedOver, Identified, Linked, Unlinked
from .outcomes import ContactSuppressed, DecisionExposed, OutcomeReported
from .transactions import (
    CartChanged,
    CartViewed,
    CheckoutAdvanced,
    CheckoutStarted,
    CouponUsed,
    OrderCancelled,
    OrderCompleted,
    OrderRefunded,
    OrderUpdated,
    SubscriptionChanged,
)

AnyEvent = (
    PageViewed
    | ProductListViewed
    | ProductViewed
    | ProductClicked
    | ProductsSearched
    | PromotionViewed
    | PromotionClicked
    | WishlistChanged
    | Shared
    | SignedUp
    | SignedIn
    | SignedOut
    | FormSubmitted
    | LeadChanged
    | CartChanged
    | CartViewed
    | CheckoutStarted
    | CheckoutAdvanced
    | OrderCompleted
    | OrderUpdated
    | OrderRefunded
    | OrderCancelled
    | CouponUsed
    | SubscriptionChanged
    | ProductReviewed
    | SurveyAnswered
    | MessageReceived
    | OutcomeReported
    | DecisionExposed
    | ContactSuppressed
    | Identified
    | Linked
    | HandedOver
    | ConsentChanged
    | ErasureRequested
    | Unlinked
    | SlotRequested
    | Tick
    | TimerDue
    | ModelPublished
    | Custom
)

__all__ = ["AnyEvent"]
