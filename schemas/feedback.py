"""What customers say: reviews, survey answers, chat and service messages."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from .base import Event, Id, Name, Text


class ProductReviewed(Event, frozen=True, tag="product_reviewed"):
    """A review; ``rating`` is 0 to 10 on the sender's scale, None where unreadable."""

    product: Id
    rating: Annotated[float, Meta(ge=0, le=10)] | None = None
    text: Text = ""


class SurveyAnswered(Event, frozen=True, tag="survey_answered"):
    """An answer to "would you recommend us", 0 to 10, with its comment."""

    score: Annotated[int, Meta(ge=0, le=10)]
    comment: Text = ""
    survey: Name = ""


class MessageReceived(Event, frozen=True, tag="message_received"):
    """A chat or service message of the customer."""

    conversation: Name = ""
    text: Text = ""
