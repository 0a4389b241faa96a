"""Outcomes, chat, surveys, accounts, leads, consent: the Segment Spec's names and those that only Rapport defines."""

from __future__ import annotations

from typing import Any, Literal, get_args

from ..clickstream import FormSubmitted, LeadChanged, PageViewed, SignedIn, SignedOut, SignedUp
from ..control import SlotRequested
from ..errors import SchemaError
from ..feedback import MessageReceived, SurveyAnswered
from ..identity import ConsentChanged, ErasureRequested
from ..limits import kind
from ..outcomes import ContactSuppressed, DecisionExposed, Outcome, OutcomeReported
from ..transactions import SubscriptionChanged
from .custom import custom
from .draft import Draft
from .table import Handler
from .values import as_flag, as_id, as_whole

_OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
_STAFF = frozenset({"agent", "operator", "admin", "assistant", "bot", "staff", "support", "system", "outbound"})
_MOST_CANDIDATES = 500


def _outcome(draft: Draft, channel: str, outcome: Outcome) -> OutcomeReported:
    return OutcomeReported(
        **{**draft.head, "channel": channel},
        outcome=outcome,
        trigger=draft.label("trigger_id"),
        campaign=draft.label("campaign_id", "campaign_name"),
    )


def _reported(channel: str, outcome: Outcome) -> Handler:
    return lambda draft: _outcome(draft, channel, outcome)


def outcome_reported(draft: Draft) -> OutcomeReported:
    """Outcome Reported {trigger_id, campaign_id, outcome, channel}."""
    value = draft.properties.get("outcome")
    outcome = value.strip().lower() if type(value) is str else None
    for known in _OUTCOMES:
        if outcome == known:
            return _outcome(draft, draft.label("channel") or draft.head["channel"], known)
    raise _unusable(draft, "outcome", "send one of " + ", ".join(_OUTCOMES))


def unsubscribed(draft: Draft) -> OutcomeReported:
    """Unsubscribed: from e-mail, where no other channel is named."""
    return _outcome(draft, draft.label("channel") or "email", "unsubscribed")


def decision_exposed(draft: Draft) -> DecisionExposed:
    """Experiment Viewed, Decision Exposed."""
    return DecisionExposed(
        **draft.head,
        decision=draft.id("decision_id", "experiment_id", "experiment_name"),
        variation=draft.label("variation_id", "variation_name", "variation"),
    )


def contact_suppressed(draft: Draft) -> ContactSuppressed:
    """Contact Suppressed {trigger_id, reason}."""
    return ContactSuppressed(**draft.head, trigger=draft.id("trigger_id"), reason=draft.label("reason"))


def _message(draft: Draft, name: str, customers: bool) -> Any:
    get = draft.properties.get
    sender = next((value for key in ("sender", "author", "from", "direction") if type(value := get(key)) is str), None)
    if sender is not None:
        customers = sender.strip().lower() not in _STAFF
    elif get("agent_id") is not None:
        customers = False
    if not customers:
        return custom(draft, name)
    return MessageReceived(
        **draft.head,
        conversation=draft.label("conversation_id"),
        text=draft.text("message_body", "text", "body", "message"),
    )


def message_sent(draft: Draft) -> Any:
    """Live Chat Message Sent: by the customer, unless the record names an agent."""
    return _message(draft, "Live Chat Message Sent", customers=True)


def message_to_customer(draft: Draft) -> Any:
    """Live Chat Message Received: what the customer received, unless the record says otherwise."""
    return _message(draft, "Live Chat Message Received", customers=False)


def survey_answered(draft: Draft) -> SurveyAnswered:
    """Survey Answered {score, comment, survey}."""
    score = as_whole(draft.properties.get("score"), 0, 10)
    if score is None:
        raise _unusable(draft, "score", "send a whole number from 0 to 10")
    return SurveyAnswered(
        **draft.head,
        score=score,
        comment=draft.text("comment", "text"),
        survey=draft.label("survey", "survey_id", "survey_name"),
    )


def signed_up(draft: Draft) -> SignedUp:
    """Signed Up, Account Created, sign_up."""
    return SignedUp(**draft.head, method=draft.label("method", "type"))


def signed_in(draft: Draft) -> SignedIn:
    """Signed In, login."""
    return SignedIn(**draft.head, method=draft.label("method", "type"))


def signed_out(draft: Draft) -> SignedOut:
    """Signed Out."""
    return SignedOut(**draft.head)


def _subscription(status: Literal["started", "renewed", "cancelled"], plan: str = "") -> Handler:
    def handler(draft: Draft) -> SubscriptionChanged:
        sent = draft.label("plan", "plan_id", "plan_name", "trial_plan_name")
        return SubscriptionChanged(**draft.head, status=status, plan=sent or plan)

    return handler


def application_opened(draft: Draft) -> PageViewed:
    """Application Opened: a visit in the app."""
    return PageViewed(**{**draft.head, "channel": "app"}, source=draft.label("referring_application"))


def form_submitted(draft: Draft) -> FormSubmitted:
    """Form Submitted {form_id, email or phone or contact, request}; addresses leave no more than a yes."""
    get = draft.properties.get
    contact = as_flag(get("contact")) or bool(get("email")) or bool(get("phone"))
    return FormSubmitted(
        **draft.head,
        form=draft.label("form_id", "form_name", "form"),
        contact=contact,
        request=as_flag(get("request")) or False,
    )


def _lead(status: str) -> Handler:
    def handler(draft: Draft) -> LeadChanged:
        return LeadChanged(**draft.head, status=status)

    return handler


def lead_changed(draft: Draft) -> LeadChanged:
    """Lead Changed {status}."""
    status = draft.label("status", "lead_status")
    if not status:
        raise _unusable(draft, "status", "send generated, qualified, disqualified, working, converted or lost")
    return LeadChanged(**draft.head, status=status.lower())


def consent_changed(draft: Draft) -> ConsentChanged:
    """Consent Changed {granted, channel, purpose}: what cannot be read without doubt is refused, not guessed."""
    granted = as_flag(draft.properties.get("granted"))
    if granted is None:
        raise _unusable(draft, "granted", "send true or false")
    purpose = draft.properties.get("purpose", "marketing")
    if purpose == "marketing":
        return ConsentChanged(**draft.head, granted=granted, scope=_scope(draft))
    if purpose == "profiling":
        return ConsentChanged(**draft.head, granted=granted, purpose="profiling", scope=_scope(draft))
    raise _unusable(draft, "purpose", "send marketing or profiling")


def _scope(draft: Draft) -> str:
    for name in ("scope", "channel"):
        value = draft.properties.get(name)
        if value is not None:
            # Dropping an unreadable scope would widen the consent to every channel.
            if type(value) is not str or not value.strip() or len(value) > 128 or not value.isprintable():
                raise _unusable(draft, name, "send a channel such as email, or * for all")
            return value.strip().lower()
    return "*"


def erasure_requested(draft: Draft) -> ErasureRequested:
    """Erasure Requested."""
    return ErasureRequested(**draft.head)


def slot_requested(draft: Draft) -> SlotRequested:
    """Slot Requested {slot, kind, candidates}."""
    candidates = draft.properties.get("candidates")
    if candidates is not None and type(candidates) is not list:
        draft.drop("candidates")
    ids = [as_id(value) for value in candidates[:_MOST_CANDIDATES]] if type(candidates) is list else []
    usable = tuple(text for text in ids if text is not None and len(text) <= 128 and text.isprintable())
    if len(usable) != len(ids):
        draft.drop("candidate")
    what = draft.properties.get("kind", "banner")
    if what not in ("banner", "recommendation"):
        raise _unusable(draft, "kind", "send banner or recommendation")
    return SlotRequested(**draft.head, slot=draft.id("slot", "slot_id"), kind=what, candidates=usable)


def _unusable(draft: Draft, name: str, remedy: str) -> SchemaError:
    value = draft.properties.get(name)
    if value is None:
        return SchemaError("missing", f"{draft.path}.{name}", "nothing", remedy)
    return SchemaError("type", f"{draft.path}.{name}", kind(value), remedy)


HANDLERS: dict[str, Handler] = {
    "Email Delivered": _reported("email", "delivered"),
    "Email Opened": _reported("email", "opened"),
    "Email Link Clicked": _reported("email", "clicked"),
    "Email Bounced": _reported("email", "bounced"),
    "Email Marked as Spam": _reported("email", "spam"),
    "Unsubscribed": unsubscribed,
    "Push Notification Received": _reported("push", "delivered"),
    "Push Notification Tapped": _reported("push", "clicked"),
    "Push Notification Bounced": _reported("push", "bounced"),
    "Outcome Reported": outcome_reported,
    "Experiment Viewed": decision_exposed,
    "Decision Exposed": decision_exposed,
    "Contact Suppressed": contact_suppressed,
    "Live Chat Message Sent": message_sent,
    "Message Received": message_sent,
    "Live Chat Message Received": message_to_customer,
    "Survey Answered": survey_answered,
    "Signed Up": signed_up,
    "sign_up": signed_up,
    "Account Created": signed_up,
    "Signed In": signed_in,
    "login": signed_in,
    "Signed Out": signed_out,
    "Trial Started": _subscription("started", "trial"),
    "Trial Ended": _subscription("cancelled", "trial"),
    "Account Deleted": _subscription("cancelled", "account"),
    "Subscription Started": _subscription("started"),
    "Subscription Renewed": _subscription("renewed"),
    "Subscription Cancelled": _subscription("cancelled"),
    "Subscription Canceled": _subscription("cancelled"),
    "Application Opened": application_opened,
    "Form Submitted": form_submitted,
    "submit_form": form_submitted,
    "Lead Changed": lead_changed,
    "generate_lead": _lead("generated"),
    "Lead Generated": _lead("generated"),
    "qualify_lead": _lead("qualified"),
    "Lead Qualified": _lead("qualified"),
    "disqualify_lead": _lead("disqualified"),
    "Lead Disqualified": _lead("disqualified"),
    "working_lead": _lead("working"),
    "Lead Working": _lead("working"),
    "close_convert_lead": _lead("converted"),
    "Lead Converted": _lead("converted"),
    "close_unconvert_lead": _lead("lost"),
    "Lead Lost": _lead("lost"),
    "Consent Changed": consent_changed,
    "Erasure Requested": erasure_requested,
    "Slot Requested": slot_requested,
}
